/**
 * Presence in a fanout, put together on its store: what sessions tell it, what clients ask it, and what it does by
 * itself. Presence is never waited for: a session opens, follows and closes whether it can be written or not.
 */
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { FrameHandlers } from "#fanout/session/frame-handler.js";
import type { OwnParticipations } from "#fanout/session/own-participations.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { Availability, availabilityHandler } from "./availability.js";
import { PresenceAnnouncer } from "./presence-announcer.js";
import { PRESENCE_KIND, presenceValue } from "./presence-channel.js";
import { PresenceCounters } from "./presence-counters.js";
import type { PresenceVisibility } from "./presence-directory.js";
import { presenceHandler } from "./presence-handler.js";
import { PresenceKeeper } from "./presence-keeper.js";
import { PresenceReaper } from "./presence-reaper.js";
import type { PresenceStore } from "./presence-store.js";

export interface PresenceSettings {
  /** How long who lost their connection is still taken to be there. Default: 15 s. */
  readonly graceMs?: number;
  /** Default: who shares a channel with them. */
  readonly visibility?: PresenceVisibility;
}

export interface PresenceOptions {
  /** Of the fanout. */
  readonly options: {
    readonly stores: { readonly presence: PresenceStore };
    readonly presence?: PresenceSettings;
  };
  readonly publisher: Publisher;
  readonly counters: FanoutCounters;
  readonly nowMs: () => number;
}

const DEFAULT_GRACE_MS = 15_000;
const KEEP_TICK_MS = 1_000;
const SETTLE_INTERVAL_MS = 2_000;
const RENEWAL_MS = 5_000;
const DROP_INTERVAL_MS = 5_000;

export class Presence {
  readonly counters = new PresenceCounters();
  readonly keeper: PresenceKeeper;
  readonly availability: Availability;
  readonly #store: PresenceStore;
  readonly #timers: readonly NodeJS.Timeout[];

  constructor({ options, publisher, counters, nowMs }: PresenceOptions) {
    const store = options.stores.presence;
    const graceMs = options.presence?.graceMs ?? DEFAULT_GRACE_MS;
    const presenceCounters = this.counters;
    const announcer = new PresenceAnnouncer({ store, publisher, presenceCounters, counters });
    const reaper = new PresenceReaper({ store, announcer, presenceCounters, counters, nowMs });
    this.#store = store;
    this.keeper = new PresenceKeeper({ store, announcer, presenceCounters, counters, graceMs });
    this.availability = new Availability({ store, announcer, counters });
    this.#timers = [
      setInterval(() => void this.keeper.tick(), KEEP_TICK_MS).unref(),
      setInterval(() => void this.keeper.renew(), RENEWAL_MS).unref(),
      setInterval(() => void reaper.settleDue(), SETTLE_INTERVAL_MS).unref(),
      setInterval(() => void reaper.dropLapsed(), DROP_INTERVAL_MS).unref(),
    ];
  }

  /** What clients ask and say. */
  handlers(participations: OwnParticipations): FrameHandlers {
    return {
      presence: presenceHandler({ store: this.#store, participations }),
      availability: availabilityHandler(this.availability),
    };
  }

  /**
   * Who begins to watch a user sees the present value: it is read, also where the last change was long ago, and heard
   * like any other, so that nothing older comes behind it.
   */
  async refreshValue(followed: FollowedChannel): Promise<void> {
    const { channel } = followed;
    if (channel.kind !== PRESENCE_KIND) return;
    const [presence] = await this.#store.presences(channel.app, [channel.id]);
    if (presence !== undefined) followed.hear({ type: "latest", value: presenceValue(channel, presence) });
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }
}
