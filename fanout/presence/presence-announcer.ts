/**
 * Publishes what a change of presence has to say, and confirms it to the store. What fails is given again by the
 * store to whoever asks what is due; ids follow from the change, so that a repeat can be recognised.
 */
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { presenceChannel, presenceEvent } from "./presence-channel.js";
import type { PresenceCounters } from "./presence-counters.js";
import type { Announcement, PresenceStore } from "./presence-store.js";

export class PresenceAnnouncer {
  constructor(
    private readonly options: {
      readonly store: Pick<PresenceStore, "announced">;
      readonly publisher: Publisher;
      readonly presenceCounters: PresenceCounters;
      readonly counters: FanoutCounters;
    },
  ) {}

  /** One after the other. Never fails. */
  async announce(announcements: readonly Announcement[]): Promise<void> {
    const { store, counters } = this.options;
    try {
      for (const announcement of announcements) {
        await this.#publish(announcement);
        await store.announced(announcement);
      }
    } catch {
      counters.storeFailures += 1;
    }
  }

  async #publish(announcement: Announcement): Promise<void> {
    const { publisher, presenceCounters } = this.options;
    if (announcement.type === "presence") {
      const { app, presence } = announcement;
      const channel = presenceChannel(app, presence.userId);
      await publisher.publish({ channel, event: presenceEvent(presence), version: presence.version });
      presenceCounters.announced[presence.isOnline ? "online" : "offline"] += 1;
      return;
    }
    const { channel, userId, connectionId, stamp, hasJoined } = announcement;
    const word = hasJoined ? "joined" : "left";
    await publisher.publish({
      channel,
      event: Event.fromPartial({
        id: `${word}-${connectionId}-${stamp}`,
        body: { $case: "membership", value: { userId, connectionId, joined: hasJoined } },
      }),
    });
    presenceCounters.announced[word] += 1;
  }
}
