/**
 * The store's clock. What is stored is stamped with it, so that fanouts whose clocks differ agree.
 * The memory implementation is the process's own clock; the Redis one measures the difference.
 */
export interface StoreClock {
  /** Microseconds since 1970-01-01 UTC; never goes back within a process. */
  nowUs(): number;
}

export class SystemClock implements StoreClock {
  #lastUs = 0;

  nowUs(): number {
    this.#lastUs = Math.max(this.#lastUs, Date.now() * 1000);
    return this.#lastUs;
  }
}
