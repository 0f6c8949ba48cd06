/**
 * The ids of the last events that were handled: bounded, the oldest are forgotten. Spares the stores
 * repeats that follow soon; what decides about repeats for good is the channel's own record.
 */
export class RecentEvents {
  readonly #limit: number;
  readonly #ids = new Set<string>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  add(id: string): void {
    this.#ids.add(id);
    if (this.#ids.size <= this.#limit) return;
    for (const oldest of this.#ids) {
      this.#ids.delete(oldest);
      break;
    }
  }
}
