/** How often what happened, by name; of a bounded number of names. */
const MAX_NAMES = 50;
const OTHERS = "others";

export class Tally {
  readonly #counts = new Map<string, number>();

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  add(name: string, count = 1): void {
    const known = this.#counts.has(name) || this.#counts.size < MAX_NAMES ? name : OTHERS;
    this.#counts.set(known, (this.#counts.get(known) ?? 0) + count);
  }

  addAll(counts: Readonly<Record<string, number>>): void {
    for (const [name, count] of Object.entries(counts)) this.add(name, count);
  }

  clear(): void {
    this.#counts.clear();
  }
}

/** For people: "3 × HTTP 503, 1 × …". */
export function describeCounts(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts);
  if (entries.length === 0) return "no reason was told";
  return entries.map(([name, count]) => `${count} × ${name}`).join(", ");
}
