/**
 * The last known locations of the workers of a channel, as events: what a new follower sees at once, where
 * no location has come through the channel yet. Who works on it is read once and kept until a signal says that
 * it changed: read by everybody who enters, it would make a crowd cost the square of its size.
 */
import { encode } from "#proto/encode.js";
import { Event, Location } from "#proto/gen/realtime/client/v1/event.js";
import type { LatestValue } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import { conflationKey } from "#fanout/channel/event-types.js";
import type { Directory, Participation } from "#fanout/directory/directory.js";
import type { StoreClock } from "../store-clock.js";
import type { Locations } from "./locations.js";
import { KINDS_WITH_LOCATIONS } from "./worker-assignments.js";

/** A channel that is followed here: hears when who takes part changes. */
export interface SignalledChannel {
  readonly channel: Channel;
  /** Counts what may have changed who takes part. */
  readonly signals: number;
}

interface KnownWorkers {
  readonly signals: number;
  readonly workers: Promise<readonly Participation[]>;
}

export class LastKnownLocations {
  readonly #workers = new WeakMap<SignalledChannel, KnownWorkers>();

  constructor(
    private readonly options: {
      readonly directory: Directory;
      readonly locations: Locations;
      readonly clock: StoreClock;
    },
  ) {}

  async of(followed: SignalledChannel): Promise<readonly LatestValue[]> {
    const { channel } = followed;
    if (!KINDS_WITH_LOCATIONS.has(channel.kind)) return [];
    const { locations, clock } = this.options;
    const nowMs = clock.nowUs() / 1000;
    const values: LatestValue[] = [];
    for (const { userId, expiresAtMs } of await this.#workersOf(followed)) {
      if (expiresAtMs <= nowMs) continue;
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
        payload: encode(Event, event),
      });
    }
    return values;
  }

  #workersOf(followed: SignalledChannel): Promise<readonly Participation[]> {
    const { channel, signals } = followed;
    const known = this.#workers.get(followed);
    if (known?.signals === signals) return known.workers;
    const workers = this.options.directory
      .participants(channel)
      .then((parts) => parts.filter(({ relation }) => relation === "assigned"));
    const reading = { signals, workers };
    this.#workers.set(followed, reading);
    workers.catch(() => {
      if (this.#workers.get(followed) === reading) this.#workers.delete(followed);
    });
    return workers;
  }
}
