/**
 * How long to wait before trying again: doubles with each failure up to a cap, with jitter so that
 * processes that failed together do not come back together. The owner says when all is well (`reset`):
 * after a success, or after proven uptime.
 */
export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  /** 0 up to 1. */
  readonly random?: () => number;
}

/** By how much a delay is shortened at most. */
const JITTER = 0.3;

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /** The delay after one more failure. */
  nextMs(): number {
    // The exponent is capped only so that the power stays a finite number.
    const fullMs = Math.min(this.#options.maxMs, this.#options.initialMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return Math.round(fullMs * (1 - JITTER * this.#random()));
  }

  reset(): void {
    this.#failures = 0;
  }
}
