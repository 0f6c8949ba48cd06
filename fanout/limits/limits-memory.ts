/** Limits in memory, for the embedded default and for tests. A bucket that is full again goes with the next sweep. */
import type { Draw, Drawn, Limits } from "./limits.js";
import type { RateLimit } from "./rate-limits.js";
import { TokenBucket } from "./token-bucket.js";

const SWEEP_INTERVAL_MS = 60_000;

export class MemoryLimits implements Limits {
  readonly #nowMs: () => number;
  readonly #buckets = new Map<string, { readonly bucket: TokenBucket; limit: RateLimit }>();
  #sweptAtMs = -Infinity;

  /** The time is monotonic: the buckets live no longer than the process. */
  constructor(options: { readonly nowMs?: () => number } = {}) {
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** How many are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  async draw({ app, userId, limitClass, limit, wanted }: Draw): Promise<Drawn> {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptAtMs >= SWEEP_INTERVAL_MS) this.#sweep(nowMs);
    const key = JSON.stringify([app, userId, limitClass]);
    let known = this.#buckets.get(key);
    if (known === undefined) {
      known = { bucket: new TokenBucket(nowMs), limit };
      this.#buckets.set(key, known);
    }
    known.limit = limit;
    return known.bucket.draw(limit, wanted, nowMs);
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const [key, { bucket, limit }] of this.#buckets)
      if (bucket.spent(limit, nowMs) === 0) this.#buckets.delete(key);
  }
}
