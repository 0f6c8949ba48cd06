/**
 * The limits port: one token bucket for each user and class, shared by all fanouts. A bucket fills steadily by
 * the store's clock and is full where nothing is stored of it, as after its time or after a loss.
 * Implementations: `limits-memory.ts`, `limits-redis.ts`, one contract suite for both.
 * Fails with GatewayError `unavailable` while the store is away.
 */
import type { RateLimit, SharedClass } from "./rate-limits.js";

export interface Draw {
  readonly app: string;
  readonly userId: string;
  readonly limitClass: SharedClass;
  /** Of the role that draws: others of the user may see the same bucket larger or smaller. */
  readonly limit: RateLimit;
  /** A whole number, 1 or more. */
  readonly wanted: number;
}

export interface Drawn {
  /** Whole tokens: as many as wanted, or all that there are. */
  readonly granted: number;
  /** What is left, with fractions: `msUntil` says when there will be more. Below 0 where a larger bucket was drawn from. */
  readonly left: number;
}

export interface Limits {
  /** One step: of draws at the same time no two get the same token. */
  draw(draw: Draw): Promise<Drawn>;
}
