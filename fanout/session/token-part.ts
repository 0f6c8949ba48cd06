/**
 * What makes tokens count and cease to: revocations, the watch over sessions that came with tokens, refreshes on
 * live sockets, and a user's word about their own devices, put together on the ports that it is given.
 */
import type { Broker } from "#fanout/channel/broker.js";
import type { RevocationLog } from "#fanout/revocation/revocation-log.js";
import { DEFAULT_MAX_REVOCATIONS, type RevocationStore } from "#fanout/revocation/revocation-store.js";
import { Revocations } from "#fanout/revocation/revocations.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { StoreClock } from "../store-clock.js";
import type { FrameHandlers } from "./frame-handler.js";
import { authenticateHandler } from "./handlers/authenticate.js";
import { endDeviceHandler, listDevicesHandler } from "./handlers/devices.js";
import type { ResumableSessions } from "./resumable-sessions.js";
import type { SessionHost } from "./session-host.js";
import type { SessionRegistry } from "./session-registry.js";
import { TokenChecks } from "./token-checks.js";
import { TokenWatch } from "./token-watch.js";

export interface TokenSettings {
  /** No token lives longer: so long revocations are kept. */
  readonly maxTokenLifetimeMs: number;
  readonly maxRevocations: number;
}

export const DEFAULT_TOKEN_SETTINGS: TokenSettings = {
  maxTokenLifetimeMs: 24 * 3_600_000,
  maxRevocations: DEFAULT_MAX_REVOCATIONS,
};

export interface TokenPartOptions extends TokenSettings {
  readonly stores: {
    readonly revocations: RevocationStore;
    readonly registry: SessionRegistry;
    readonly resumables: ResumableSessions;
    readonly broker: Broker;
    readonly clock: StoreClock;
  };
  readonly log: RevocationLog | undefined;
  /** Asked for when there is something to tell. */
  readonly sessions: () => Pick<SessionHost, "revoked" | "refreshed">;
  readonly counters: FanoutCounters;
  readonly logger: Logger;
}

export class TokenPart {
  readonly revocations: Revocations;
  readonly watch: TokenWatch;
  readonly checks = new TokenChecks();
  readonly handlers: Pick<FrameHandlers, "authenticate" | "listDevices" | "endDevice">;

  constructor(options: TokenPartOptions) {
    const { stores, log, sessions, counters } = options;
    const { registry, resumables, broker, clock } = stores;
    const revocations = new Revocations({
      maxTokenLifetimeMs: options.maxTokenLifetimeMs,
      maxRevocations: options.maxRevocations,
      counters,
      logger: options.logger,
      store: stores.revocations,
      clock,
      ...(log && { log }),
      onRevoked: (news) => sessions().revoked(news),
    });
    this.revocations = revocations;
    this.watch = new TokenWatch({ revocations, counters });
    this.handlers = {
      authenticate: authenticateHandler({
        checks: this.checks,
        revocations,
        counters,
        refreshed: (session, before) => sessions().refreshed(session, before),
      }),
      listDevices: listDevicesHandler({ registry }),
      endDevice: endDeviceHandler({ registry, resumables, revocations, broker }),
    };
  }
}
