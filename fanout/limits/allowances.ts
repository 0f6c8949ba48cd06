/**
 * The allowances of all sessions on this home: those of one user share leases, and leases outlive their user's
 * last session by the time in which their buckets fill, so that who reconnects neither gains nor loses any.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Limits } from "./limits.js";
import { DEFAULT_RATE_LIMITS, limitsOfRole, type ClassLimits, type RateLimits } from "./rate-limits.js";
import { SessionAllowance, UserLeases } from "./session-allowance.js";

export interface AllowancesOptions {
  readonly limits: Limits;
  /** Default: `DEFAULT_RATE_LIMITS`. */
  readonly rateLimits?: RateLimits | undefined;
  readonly counters: FanoutCounters;
  /** Monotonic. */
  readonly nowMs: () => number;
}

interface PresentUser {
  readonly leases: UserLeases;
  sessions: number;
}

interface DepartedUser {
  readonly leases: UserLeases;
  readonly forgetAtMs: number;
}

/** Of users without a session the oldest are forgotten beyond: they draw anew. */
const MAX_DEPARTED = 100_000;
const MAX_KEEP_MS = 600_000;

export class Allowances {
  readonly #options: AllowancesOptions;
  readonly #rateLimits: RateLimits;
  readonly #keepMs: number;
  readonly #limitsByRole = new Map<string, ClassLimits>();
  readonly #present = new Map<string, PresentUser>();
  /** In the order in which they are forgotten. */
  readonly #departed = new Map<string, DepartedUser>();

  constructor(options: AllowancesOptions) {
    this.#options = options;
    this.#rateLimits = options.rateLimits ?? DEFAULT_RATE_LIMITS;
    const { byClass, byRole } = this.#rateLimits;
    for (const role of byRole.keys()) this.#limitsByRole.set(role, limitsOfRole(this.#rateLimits, role));
    const all = [byClass, ...this.#limitsByRole.values()].flatMap((limits) => Object.values(limits));
    this.#keepMs = Math.min(MAX_KEEP_MS, Math.max(...all.map(({ windowMs }) => windowMs)));
  }

  /** Users whose leases are remembered here. */
  get users(): number {
    return this.#present.size + this.#departed.size;
  }

  /** For a session that comes to this home; `leave` when it goes. */
  enter({ app, userId, role }: Principal): SessionAllowance {
    const { byClass, closeAfter } = this.#rateLimits;
    const limits = this.#limitsByRole.get(role) ?? byClass;
    const key = this.#keyOf({ app, userId, role });
    let user = this.#present.get(key);
    if (user === undefined) {
      const leases =
        this.#departed.get(key)?.leases ?? new UserLeases({ app, userId, limits }, this.#options);
      this.#departed.delete(key);
      user = { leases, sessions: 0 };
      this.#present.set(key, user);
    }
    user.sessions += 1;
    return new SessionAllowance({ leases: user.leases, limits, closeAfter, nowMs: this.#options.nowMs });
  }

  leave(principal: Principal): void {
    this.#forget();
    const key = this.#keyOf(principal);
    const user = this.#present.get(key);
    if (user === undefined) return;
    user.sessions -= 1;
    if (user.sessions > 0) return;
    this.#present.delete(key);
    this.#departed.set(key, {
      leases: user.leases,
      forgetAtMs: this.#options.nowMs() + this.#keepMs,
    });
    if (this.#departed.size <= MAX_DEPARTED) return;
    const oldest = this.#departed.keys().next();
    if (oldest.done !== true) this.#departed.delete(oldest.value);
  }

  /** Those who have been away for long enough. */
  #forget(): void {
    const now = this.#options.nowMs();
    for (const [key, { forgetAtMs }] of this.#departed) {
      if (forgetAtMs > now) return;
      this.#departed.delete(key);
    }
  }

  /** A user with two roles of different limits has leases for each, on one bucket. Names have no spaces. */
  #keyOf({ app, userId, role }: Pick<Principal, "app" | "userId" | "role">): string {
    return this.#limitsByRole.has(role) ? `${app}/${userId} ${role}` : `${app}/${userId}`;
  }
}
