/**
 * A token bucket: `ratePerSecond` on average, up to `burst` at once. Pure: the time is passed in; a clock
 * that goes back gives nothing and takes nothing. Looking and taking are two steps, so that a caller who
 * asks several buckets takes from all of them or from none.
 */
export interface TokenBucketRate {
  readonly ratePerSecond: number;
  readonly burst: number;
}

export class TokenBucket {
  readonly #rate: TokenBucketRate;
  #tokens: number;
  #filledAtMs: number;

  /** Starts full. */
  constructor(rate: TokenBucketRate, nowMs: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#filledAtMs = nowMs;
  }

  /** Milliseconds until there is a token; 0: there is one. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    return this.#tokens >= 1 ? 0 : Math.ceil(((1 - this.#tokens) * 1000) / this.#rate.ratePerSecond);
  }

  /** Takes a token; false, and nothing taken, where there is none. */
  tryTake(nowMs: number): boolean {
    if (this.waitMs(nowMs) > 0) return false;
    this.#tokens -= 1;
    return true;
  }

  #fill(nowMs: number): void {
    if (nowMs <= this.#filledAtMs) return;
    const earned = ((nowMs - this.#filledAtMs) * this.#rate.ratePerSecond) / 1000;
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + earned);
    this.#filledAtMs = nowMs;
  }
}

/** How long an empty bucket takes to be full: after that it says no more than a new one. */
export function fillTimeMs({ ratePerSecond, burst }: TokenBucketRate): number {
  return Math.ceil((burst * 1000) / ratePerSecond);
}
