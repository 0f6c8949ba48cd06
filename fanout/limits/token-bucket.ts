/**
 * A token bucket, pure: the time is passed in. It remembers what is spent and not filled up again yet, so that
 * a bucket whose size changes (another role, another configuration) keeps what was drawn from it. A clock that
 * goes back gives nothing and takes nothing. `lua/draw-tokens.lua` does the same in Redis.
 */
import type { Drawn } from "./limits.js";
import type { RateLimit } from "./rate-limits.js";

/** Sums of fractions come out a little below the whole token that they are. */
const ROUNDING = 1e-6;

export class TokenBucket {
  #spent = 0;
  #atMs: number;

  /** Starts full. */
  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** Takes as many as wanted, or all whole ones that there are. */
  draw(limit: RateLimit, wanted: number, nowMs: number): Drawn {
    const left = limit.count - this.spent(limit, nowMs);
    const granted = Math.max(0, Math.min(wanted, Math.floor(left + ROUNDING)));
    this.#spent += granted;
    return { granted, left: left - granted };
  }

  /** What is missing to a full bucket. */
  spent(limit: RateLimit, nowMs: number): number {
    const filled = (Math.max(0, nowMs - this.#atMs) * limit.count) / limit.windowMs;
    this.#spent = Math.max(0, this.#spent - filled);
    this.#atMs = nowMs;
    return this.#spent;
  }

  /** Makes it a copy of a bucket that has so many left. */
  copy(limit: RateLimit, left: number, nowMs: number): void {
    this.#spent = limit.count - left;
    this.#atMs = nowMs;
  }
}

/** When a bucket that has `left` tokens will have this many. */
export function msUntil(tokens: number, limit: RateLimit, left: number): number {
  return Math.max(0, Math.ceil(((tokens - left) * limit.windowMs) / limit.count));
}
