/**
 * The channel in which a user's presence is told: `presence:<user id>`. To watch a user is to follow it. Its events
 * are the latest value of one key, by the store's version of the user's presence.
 */
import { encode } from "#proto/encode.js";
import { Event, type PresenceUpdate } from "#proto/gen/realtime/client/v1/event.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { conflationKey } from "#fanout/channel/event-types.js";
import type { LatestValue } from "#fanout/channel/broker.js";
import type { UserPresence } from "./presence-store.js";

export const PRESENCE_KIND = "presence";

export function presenceChannel(app: string, userId: string): Channel {
  return channelOf(app, PRESENCE_KIND, userId);
}

export function presenceUpdate({ userId, isOnline, lastSeenMs, isAvailable }: UserPresence): PresenceUpdate {
  return {
    userId,
    online: isOnline,
    lastSeenMs,
    ...(isAvailable !== undefined && { available: isAvailable }),
  };
}

export function presenceEvent(presence: UserPresence): Event {
  const { userId, version } = presence;
  return Event.fromPartial({
    id: `presence-${userId}-${version}`,
    timeMs: Math.floor(version / 1000),
    body: { $case: "presence", value: presenceUpdate(presence) },
  });
}

/** As the channel's followers hold it. */
export function presenceValue(channel: Channel, presence: UserPresence): LatestValue {
  const event = { ...presenceEvent(presence), channel: channel.name };
  const body = { $case: "presence", value: presenceUpdate(presence) } as const;
  return { key: conflationKey(body), version: presence.version, payload: encode(Event, event) };
}
