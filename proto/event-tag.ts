/**
 * The 32-bit tag of an event's id (FNV-1a over its UTF-8 bytes): part of a position, it tells a
 * repeat of the same event from a fork of the history at the same offset.
 */
export function eventTag(eventId: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(eventId, "utf8")) {
    hash ^= byte;
    hash = Math.imul(hash, 0x01000193);
  }
  return hash >>> 0;
}
