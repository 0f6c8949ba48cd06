/**
 * One timer for the deadlines of many: each has one at most, those of the same moment share a place, and places are
 * kept in their order. Deadlines are times of day: where the clock is set, they are looked at again within a minute.
 */
export interface DeadlinesOptions<T> {
  /** Milliseconds since 1970-01-01 UTC. */
  readonly nowMs: () => number;
  /** It is time, at the earliest in the next turn of the event loop. Whoever it is may be given another deadline. */
  readonly due: (item: T) => void;
}

/** How long the clock may have been set before it is noticed. */
const MAX_SLEEP_MS = 60_000;
/** Tokens that were made together end together. */
const DUE_PER_TURN = 500;

export class Deadlines<T extends object> {
  readonly #options: DeadlinesOptions<T>;
  readonly #dueAtMs = new Map<T, number>();
  readonly #places = new Map<number, Set<T>>();
  /** The times of places, ascending. */
  readonly #times: number[] = [];
  #timer: NodeJS.Timeout | undefined;
  #wakesAtMs = Infinity;

  constructor(options: DeadlinesOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#dueAtMs.size;
  }

  /** Moments at which somebody has one. */
  get moments(): number {
    return this.#times.length;
  }

  /** Replaces an earlier deadline. */
  set(item: T, atMs: number): void {
    this.delete(item);
    this.#dueAtMs.set(item, atMs);
    const place = this.#places.get(atMs);
    if (place !== undefined) place.add(item);
    else {
      this.#places.set(atMs, new Set([item]));
      this.#times.splice(this.#indexOf(atMs), 0, atMs);
    }
    if (atMs < this.#wakesAtMs) this.#sleep();
  }

  delete(item: T): void {
    const atMs = this.#dueAtMs.get(item);
    if (atMs === undefined) return;
    this.#dueAtMs.delete(item);
    const place = this.#places.get(atMs);
    place?.delete(item);
    if (place?.size !== 0) return;
    this.#places.delete(atMs);
    this.#times.splice(this.#indexOf(atMs), 1);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#dueAtMs.clear();
    this.#places.clear();
    this.#times.length = 0;
  }

  /** Where a time stands or has to stand. */
  #indexOf(atMs: number): number {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#times[middle] ?? 0) < atMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    const [next] = this.#times;
    this.#wakesAtMs = next ?? Infinity;
    if (next === undefined) return;
    const sleepMs = Math.min(MAX_SLEEP_MS, Math.max(0, next - this.#options.nowMs()));
    this.#timer = setTimeout(this.#wake, sleepMs);
    this.#timer.unref();
  }

  readonly #wake = (): void => {
    const nowMs = this.#options.nowMs();
    let budget = DUE_PER_TURN;
    while (budget > 0) {
      const [next] = this.#times;
      if (next === undefined || next > nowMs) break;
      // Who is due leaves the place, and the last one ends it.
      for (const item of this.#places.get(next) ?? []) {
        if (budget === 0) break;
        budget -= 1;
        this.delete(item);
        this.#options.due(item);
      }
    }
    this.#sleep();
  };
}
