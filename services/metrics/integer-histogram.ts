/**
 * A histogram for hot paths: fixed buckets over whole numbers (microseconds, bytes), plain arrays, nothing
 * allocated by `observe`. Published as a Prometheus histogram by `publishHistogram`.
 */
export class IntegerHistogram {
  /** Upper bounds, inclusive, ascending; above the last is one bucket more. */
  readonly bounds: readonly number[];
  /** Observations in each bucket, not cumulated; one more than there are bounds. */
  readonly counts: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(bounds: readonly number[]) {
    const isAscending = bounds.every((bound, index) => index === 0 || bound > (bounds[index - 1] ?? bound));
    if (bounds.length === 0 || !isAscending || !bounds.every(Number.isFinite)) {
      throw new Error("the bounds of a histogram are finite numbers in ascending order");
    }
    this.bounds = [...bounds];
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
    this.counts = this.#counts;
  }

  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.#count;
  }

  observe(value: number): void {
    // What is no number would poison the sum for ever.
    if (!Number.isFinite(value)) return;
    let low = 0;
    let high = this.bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= (this.bounds[middle] ?? Number.POSITIVE_INFINITY)) high = middle;
      else low = middle + 1;
    }
    this.#counts[low] = (this.#counts[low] ?? 0) + 1;
    this.#sum += value;
    this.#count += 1;
  }
}
