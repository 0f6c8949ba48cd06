/**
 * Latencies in microseconds as counts: exact up to 2,047, beyond that in steps of at most 1/1024 of the value,
 * up to 134 s. Adding is an increment, whatever was measured before; histograms of several processes add up.
 */

/** Values of one power of two share so many counts. */
const STEPS = 1024;
const STEP_BITS = 10;
const MAX_BITS = 27;
const MAX_US = 2 ** MAX_BITS - 1;
const COUNTS = (MAX_BITS - STEP_BITS + 1) * STEPS;

export interface LatencyMs {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export class LatencyHistogram {
  readonly #counts = new Uint32Array(COUNTS);
  #count = 0;
  #maxUs = 0;

  get count(): number {
    return this.#count;
  }

  add(latencyUs: number): void {
    const value = latencyUs < 0 ? 0 : latencyUs > MAX_US ? MAX_US : latencyUs | 0;
    const index = indexOf(value);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count += 1;
    if (value > this.#maxUs) this.#maxUs = value;
  }

  /** What goes between processes: pairs of index and count, and the maximum. */
  toParts(): HistogramParts {
    const pairs: number[] = [];
    for (const [index, count] of this.#counts.entries()) if (count > 0) pairs.push(index, count);
    return { pairs, maxUs: this.#maxUs };
  }

  addParts({ pairs, maxUs }: HistogramParts): void {
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const index = pairs[at] ?? 0;
      const count = pairs[at + 1] ?? 0;
      this.#counts[index] = (this.#counts[index] ?? 0) + count;
      this.#count += count;
    }
    this.#maxUs = Math.max(this.#maxUs, maxUs);
  }

  /** The smallest value that so large a share (0 to 1) does not exceed, rounded up to its step; 0 of nothing. */
  percentileUs(share: number): number {
    const wanted = Math.max(1, Math.ceil(this.#count * share));
    let seen = 0;
    for (const [index, count] of this.#counts.entries()) {
      seen += count;
      if (count > 0 && seen >= wanted) return Math.min(upperBound(index), this.#maxUs);
    }
    return 0;
  }

  get latencyMs(): LatencyMs {
    return {
      p50: this.percentileUs(0.5) / 1000,
      p95: this.percentileUs(0.95) / 1000,
      p99: this.percentileUs(0.99) / 1000,
      p999: this.percentileUs(0.999) / 1000,
      max: this.#maxUs / 1000,
    };
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#maxUs = 0;
  }
}

export interface HistogramParts {
  readonly pairs: readonly number[];
  readonly maxUs: number;
}

/** Values below 2 × STEPS are their own index; above, the highest eleven bits decide. */
function indexOf(value: number): number {
  if (value < 2 * STEPS) return value;
  const shift = 31 - Math.clz32(value) - STEP_BITS;
  return shift * STEPS + (value >>> shift);
}

/** The largest value with this index. */
function upperBound(index: number): number {
  if (index < 2 * STEPS) return index;
  const shift = Math.floor(index / STEPS) - 1;
  return (index - shift * STEPS + 1) * 2 ** shift - 1;
}
