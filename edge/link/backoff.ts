/**
 * Waiting times between attempts: doubled from `firstMs` to `maxMs`, with jitter of half of it. The wait
 * is short again only after the last attempt proved itself: it lasted for `provenMs`.
 */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly provenMs: number;
  readonly random: () => number;
}

export class Backoff {
  #attempts = 0;

  constructor(private readonly options: BackoffOptions) {}

  get attempts(): number {
    return this.#attempts;
  }

  /** The wait before the next attempt, after one that lasted so long. */
  nextMs(lastedMs: number): number {
    const { firstMs, maxMs, provenMs, random } = this.options;
    if (lastedMs >= provenMs) this.#attempts = 0;
    const full = Math.min(maxMs, firstMs * 2 ** this.#attempts);
    this.#attempts += 1;
    return full / 2 + (full / 2) * random();
  }
}
