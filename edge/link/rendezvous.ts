/**
 * Rendezvous hashing (Thaler and Ravishankar, 1998): every edge finds the same home for a user without
 * asking anybody, and when a fanout comes or goes only its own share of the users moves.
 */
function hash(text: string, seed: number): number {
  let value = seed ^ 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  // The finalizer of MurmurHash3: FNV alone leaves the high bits of similar names alike.
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** The node with the highest weight for the key, or undefined where there is none. */
export function rendezvous<T extends { readonly name: string }>(
  key: string,
  nodes: Iterable<T>,
): T | undefined {
  let best: T | undefined;
  let bestWeight = -1;
  for (const node of nodes) {
    const weight = hash(key, hash(node.name, 0));
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && node.name < best.name)) {
      best = node;
      bestWeight = weight;
    }
  }
  return best;
}
