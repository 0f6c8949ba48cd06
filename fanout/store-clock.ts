/**
 * The store's clock. What is stored is stamped with it, so that fanouts whose clocks differ agree.
 * The memory implementation is the process's own clock; the Redis one measures the difference.
 */
export interface StoreClock {
  /** Microseconds since 1970-01-01 UTC; within a process greater with each call, so that it can serve as a version. */
  nowUs(): number;
}

export class SystemClock implements StoreClock {
  #lastUs = 0;

  nowUs(): number {
    this.#lastUs = Math.max(this.#lastUs + 1, Date.now() * 1000);
    return this.#lastUs;
  }
}
