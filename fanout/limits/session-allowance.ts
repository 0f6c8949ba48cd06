/**
 * What one socket may send: its user's leases, which all sessions of the user on this home share, heartbeats of
 * its own, and the count of its refusals, by which a socket that goes on flooding is told from one that waits.
 */
import type { ClassLimits, FrameClass, RateLimit, SharedClass } from "./rate-limits.js";
import { msUntil, TokenBucket } from "./token-bucket.js";
import { TokenLease, type TokenLeaseOptions } from "./token-lease.js";

/** Of a user on this home, made as they are needed: most users never send a location. */
export class UserLeases {
  readonly #leases = new Map<SharedClass, TokenLease>();

  constructor(
    private readonly user: { readonly app: string; readonly userId: string; readonly limits: ClassLimits },
    private readonly options: TokenLeaseOptions,
  ) {}

  of(limitClass: SharedClass): TokenLease {
    const known = this.#leases.get(limitClass);
    if (known !== undefined) return known;
    const { app, userId, limits } = this.user;
    const lease = new TokenLease(this.options, { app, userId, limitClass, limit: limits[limitClass] });
    this.#leases.set(limitClass, lease);
    return lease;
  }
}

export interface SessionAllowanceOptions {
  readonly leases: UserLeases;
  readonly limits: ClassLimits;
  /** So many refusals in a window are a flood. */
  readonly closeAfter: RateLimit;
  /** Monotonic. */
  readonly nowMs: () => number;
}

export class SessionAllowance {
  readonly #options: SessionAllowanceOptions;
  #pings: TokenBucket | undefined;
  #refusals = 0;
  #windowEndsAtMs = -Infinity;

  constructor(options: SessionAllowanceOptions) {
    this.#options = options;
  }

  /** At this interval locations are never refused. */
  get locationIntervalMs(): number {
    const { count, windowMs } = this.#options.limits.location;
    return Math.ceil(windowMs / count);
  }

  /** Admits a frame: 0. Otherwise nothing is taken: try again after so many milliseconds. */
  take(frameClass: FrameClass): number | Promise<number> {
    return frameClass === "ping" ? this.#takePing() : this.#options.leases.of(frameClass).take();
  }

  /** Counts a refusal; true for the one that makes it a flood. */
  refused(): boolean {
    const { closeAfter, nowMs } = this.#options;
    const now = nowMs();
    if (now >= this.#windowEndsAtMs) {
      this.#refusals = 0;
      this.#windowEndsAtMs = now + closeAfter.windowMs;
    }
    this.#refusals += 1;
    return this.#refusals === closeAfter.count;
  }

  #takePing(): number {
    const { limits, nowMs } = this.#options;
    const now = nowMs();
    this.#pings ??= new TokenBucket(now);
    const { granted, left } = this.#pings.draw(limits.ping, 1, now);
    return granted > 0 ? 0 : Math.max(1, msUntil(1, limits.ping, left));
  }
}
