/**
 * The tokens of one user and class that this home has drawn in advance: few of the bucket (`leaseSize`), so that
 * most frames are admitted without asking the store. One draw is under way at a time.
 *
 * While the store is away the home goes on by its own copy of the bucket, as of the last answer, and full where
 * there was none: fail-open to the limit, never beyond. What it granted itself is paid when the store is back.
 */
import type { FanoutCounters } from "../fanout-counters.js";
import type { Draw, Limits } from "./limits.js";
import { leaseSize } from "./rate-limits.js";
import { msUntil, TokenBucket } from "./token-bucket.js";

/** A lease is filled up when so much of it is left; and an empty bucket is asked again when it has so much. */
const LOW_SHARE = 0.4;
/** After a failure the store is left alone for so long. */
const STORE_RETRY_MS = 1000;
/** The store's clock and this one do not run alike: who is told to wait shall have waited long enough. */
const CLOCK_MARGIN_MS = 2;

export interface TokenLeaseOptions {
  readonly limits: Limits;
  readonly counters: FanoutCounters;
  /** Monotonic. */
  readonly nowMs: () => number;
}

export class TokenLease {
  readonly #options: TokenLeaseOptions;
  readonly #bucket: Omit<Draw, "wanted">;
  readonly #copy: TokenBucket;
  readonly #size: number;
  readonly #low: number;
  #tokens = 0;
  /** Granted here while the store was away. */
  #owed = 0;
  /** Frames that wait for a token. */
  #waiting = 0;
  #drawing: Promise<void> | undefined;
  #askAgainAtMs = -Infinity;
  #storeAwayUntilMs = -Infinity;

  constructor(options: TokenLeaseOptions, bucket: Omit<Draw, "wanted">) {
    this.#options = options;
    this.#bucket = bucket;
    this.#copy = new TokenBucket(options.nowMs());
    this.#size = leaseSize(bucket.limitClass, bucket.limit);
    this.#low = Math.floor(this.#size * LOW_SHARE);
  }

  /** Takes a token: 0. Where there is none, and none taken: in how many milliseconds there are. */
  take(): number | Promise<number> {
    if (this.#tokens > 0) {
      this.#tokens -= 1;
      if (this.#tokens <= this.#low && this.#low > 0 && this.#drawing === undefined && this.#waitMs() === 0)
        void this.#beginDraw();
      return 0;
    }
    return this.#waitMs() || this.#takeDrawn();
  }

  async #takeDrawn(): Promise<number> {
    this.#waiting += 1;
    try {
      for (;;) {
        if (this.#tokens > 0) {
          this.#tokens -= 1;
          return 0;
        }
        const waitMs = this.#waitMs();
        if (waitMs > 0) return waitMs;
        await (this.#drawing ?? this.#beginDraw());
      }
    } finally {
      this.#waiting -= 1;
    }
  }

  #beginDraw(): Promise<void> {
    this.#drawing = this.#draw().finally(() => (this.#drawing = undefined));
    return this.#drawing;
  }

  /** Brings tokens, or the time to wait. */
  async #draw(): Promise<void> {
    const { limits, counters, nowMs } = this.#options;
    const wanted = Math.max(this.#size - this.#tokens, this.#waiting);
    if (nowMs() >= this.#storeAwayUntilMs) {
      try {
        await this.#drawFromStore(limits, wanted);
        counters.limitDraws += 1;
        return;
      } catch {
        counters.storeFailures += 1;
        this.#storeAwayUntilMs = nowMs() + STORE_RETRY_MS;
      }
    }
    counters.limitDrawsWithoutStore += 1;
    const { limit } = this.#bucket;
    const { granted, left } = this.#copy.draw(limit, wanted, nowMs());
    this.#owed += granted;
    this.#granted(granted, { wanted, left });
  }

  async #drawFromStore(limits: Limits, wanted: number): Promise<void> {
    const { nowMs } = this.#options;
    const { limit } = this.#bucket;
    // What has been filled up again since is owed no more.
    const owed = Math.min(this.#owed, Math.ceil(this.#copy.spent(limit, nowMs())));
    const { granted, left } = await limits.draw({ ...this.#bucket, wanted: wanted + owed });
    const paid = Math.min(owed, granted);
    this.#owed = owed - paid;
    this.#copy.copy(limit, left, nowMs());
    this.#granted(granted - paid, { wanted, left });
  }

  #granted(granted: number, { wanted, left }: { readonly wanted: number; readonly left: number }): void {
    this.#tokens += granted;
    // The bucket is empty: asking for each token that drips in would cost a call for each.
    if (granted < wanted) {
      const { limit } = this.#bucket;
      // Far below empty it is by another limit, which may be no more: by this one it fills within a window.
      const untilMs = Math.min(msUntil(Math.max(1, this.#low), limit, left), limit.windowMs);
      this.#askAgainAtMs = this.#options.nowMs() + untilMs + CLOCK_MARGIN_MS;
    }
  }

  #waitMs(): number {
    return Math.max(0, Math.ceil(this.#askAgainAtMs - this.#options.nowMs()));
  }
}
