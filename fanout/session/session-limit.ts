/**
 * How many sessions a user may have at once, over all edges and fanouts. The store counts them in the step that
 * registers the new one, so that of many that come at once none is overlooked. A session that lives already, on its
 * way to another home, is not counted again. Where the store lost its data, sessions count from when their records
 * are written again.
 */
import { CloseCode } from "#proto/close-codes.js";
import { Signal, SignalKind, type SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import type { Broker } from "#fanout/channel/broker.js";
import { userChannel } from "#fanout/channel/channel.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { RegistryKeeper } from "./registry-keeper.js";
import { SessionRefused } from "./session-refused.js";

/** What happens to one more: it is refused, or the oldest is closed. */
export type SessionLimitRule = "close_oldest" | "refuse";

export interface SessionLimitSettings {
  /** 0: no limit. */
  readonly maxSessions: number;
  readonly rule: SessionLimitRule;
}

export const DEFAULT_SESSION_LIMIT: SessionLimitSettings = { maxSessions: 20, rule: "close_oldest" };

export interface SessionLimitOptions extends SessionLimitSettings {
  readonly registry: Pick<RegistryKeeper, "put" | "admit" | "remove">;
  readonly broker: Pick<Broker, "tell">;
  readonly counters: Pick<FanoutCounters, "sessionsOverLimit" | "storeFailures">;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** One that is still there is told again after so long: each new session of the user finds it until it is gone. */
const TELL_AGAIN_MS = 2_000;
/** Beyond so many the one told first is forgotten: it may be told again early. */
const MAX_TOLD = 10_000;
const AT_ONE_HOME_FACTOR = 4;
const MIN_AT_ONE_HOME = 64;

const CLOSED_MESSAGE = "this user has too many sessions; this one was the oldest";
const REFUSED_MESSAGE = "this user has too many sessions; end one of them first";

export class SessionLimit {
  readonly #options: SessionLimitOptions;
  /** By connection, when it was told to close; the one told first is first. */
  readonly #toldAtMs = new Map<string, number>();

  constructor(options: SessionLimitOptions) {
    this.#options = options;
  }

  /**
   * Registers a new session; `isGone`: its socket has closed by now, so nobody gives way to it.
   * @throws SessionRefused; GatewayError unavailable.
   */
  async admit(record: SessionRecord, isGone: () => boolean): Promise<void> {
    const { registry, maxSessions, rule, counters } = this.#options;
    if (maxSessions === 0) {
      await registry.put(record);
      return;
    }
    const connections = await registry.admit(record, maxSessions);
    // The connection that it continues is closed for that.
    const others = connections.filter(({ sessionId }) => sessionId !== record.sessionId);
    const surplus = others.length + 1 - maxSessions;
    if (surplus <= 0) return;
    if (rule === "refuse") {
      counters.sessionsOverLimit += 1;
      registry.remove(record).catch(() => (counters.storeFailures += 1));
      throw new SessionRefused("rate_limited", REFUSED_MESSAGE, CloseCode.SESSION_LIMIT);
    }
    if (isGone()) return;
    for (const oldest of others.slice(0, surplus)) this.#close(oldest);
  }

  #close({ app, userId, connectionId }: SessionRecord): void {
    const { broker, counters, nowMs } = this.#options;
    // Of many that come at once each finds the same oldest ones.
    if ((this.#toldAtMs.get(connectionId) ?? -Infinity) + TELL_AGAIN_MS > nowMs()) return;
    this.#tellOnce(connectionId, nowMs());
    counters.sessionsOverLimit += 1;
    const signal = Signal.encode({
      kind: SignalKind.SIGNAL_KIND_DISCONNECT,
      connectionId,
      closeCode: CloseCode.SESSION_LIMIT,
      reason: CLOSED_MESSAGE,
      endsSession: false,
    }).finish();
    // Where it is not heard, the next session of the user finds it again.
    broker.tell(userChannel(app, userId), { signal }).catch(() => {
      this.#toldAtMs.delete(connectionId);
      counters.storeFailures += 1;
    });
  }

  #tellOnce(connectionId: string, nowMs: number): void {
    this.#toldAtMs.delete(connectionId);
    this.#toldAtMs.set(connectionId, nowMs);
    for (const [first, toldAtMs] of this.#toldAtMs) {
      if (toldAtMs + TELL_AGAIN_MS > nowMs && this.#toldAtMs.size <= MAX_TOLD) return;
      this.#toldAtMs.delete(first);
    }
  }
}

/**
 * How many sessions of a user a home takes before it leaves new ones unopened: more than the limit, because those on
 * their way out count too, and few, because all of them are read for each new one.
 */
export function sessionsAtOneHome({ maxSessions }: SessionLimitSettings): number {
  return maxSessions === 0 ? Infinity : Math.max(MIN_AT_ONE_HOME, AT_ONE_HOME_FACTOR * maxSessions);
}
