/**
 * The last known locations of the workers of a channel, as events: what a new follower sees at once, where
 * no location has come through the channel yet.
 */
import { Event, Location } from "#proto/gen/realtime/client/v1/event.js";
import type { LatestValue } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import { conflationKey } from "#fanout/channel/event-types.js";
import type { Directory } from "#fanout/directory/directory.js";
import type { Locations } from "./locations.js";

/** Kinds of channels whose participants may be workers. */
const KINDS_WITH_WORKERS = new Set(["order", "ride"]);

export class LastKnownLocations {
  constructor(private readonly options: { readonly directory: Directory; readonly locations: Locations }) {}

  async of(channel: Channel): Promise<readonly LatestValue[]> {
    if (!KINDS_WITH_WORKERS.has(channel.kind)) return [];
    const { directory, locations } = this.options;
    const workers = (await directory.participants(channel)).filter(({ relation }) => relation === "assigned");
    const values: LatestValue[] = [];
    for (const { userId } of workers) {
      const known = await locations.get(channel.app, userId);
      if (known === undefined) continue;
      const location = Location.decode(known.payload);
      // A location that was sent for one order only is not for the others.
      if (location.orderId !== "" && location.orderId !== channel.id) continue;
      const body = { $case: "location", value: location } as const;
      const event = Event.fromPartial({
        id: `${channel.name}-${userId}-${known.version}`,
        channel: channel.name,
        timeMs: Math.floor(known.version / 1000),
        sender: { userId, role: "" },
        body,
      });
      values.push({
        key: conflationKey(body),
        version: known.version,
        payload: Event.encode(event).finish(),
      });
    }
    return values;
  }
}
