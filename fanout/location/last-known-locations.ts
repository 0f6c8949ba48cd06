/**
 * Which locations a new follower of a channel is shown at once: those that came through it, of workers who still work
 * on it, and of the others who do their last known ones, as events. Who works on it is read once and kept until a
 * signal says that it changed: read by everybody who enters, it would make a crowd cost the square of its size.
 */
import { encode } from "#proto/encode.js";
import { Event, Location } from "#proto/gen/realtime/client/v1/event.js";
import type { LatestValue } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import { conflationKey } from "#fanout/channel/event-types.js";
import type { Directory, Participation } from "#fanout/directory/directory.js";
import { capabilityOf, isAble } from "#fanout/policy/policy.js";
import type { StoreClock } from "../store-clock.js";
import type { KnownLocation, Locations } from "./locations.js";
import { KINDS_WITH_LOCATIONS } from "./worker-assignments.js";

/** A channel that is followed here: hears when who takes part changes. */
export interface SignalledChannel {
  readonly channel: Channel;
  /** Counts what may have changed who takes part. */
  readonly signals: number;
}

interface Workers {
  readonly parts: readonly Participation[];
  /** False while the directory is being rebuilt: others may work on it too. */
  readonly isComplete: boolean;
}

interface KnownWorkers {
  readonly signals: number;
  readonly workers: Promise<Workers>;
}

/** Puts what came through the channel together with what was read beside. */
export type ShownLatest = (known: readonly LatestValue[]) => readonly LatestValue[];

const LOCATION_KEY = "location:";

export class LastKnownLocations {
  readonly #workers = new WeakMap<SignalledChannel, KnownWorkers>();

  constructor(
    private readonly options: {
      readonly directory: Directory;
      readonly locations: Locations;
      readonly clock: StoreClock;
    },
  ) {}

  /** `known`: what has come through the channel; of its workers none is looked for. */
  async of(followed: SignalledChannel, known: readonly LatestValue[]): Promise<ShownLatest> {
    const { channel } = followed;
    if (!KINDS_WITH_LOCATIONS.has(channel.kind)) return (values) => values;
    const { locations, clock } = this.options;
    const { parts, isComplete } = await this.#workersOf(followed);
    const nowMs = clock.nowUs() / 1000;
    const workerIds = parts.filter(({ expiresAtMs }) => expiresAtMs > nowMs).map(({ userId }) => userId);
    const keys = new Set(workerIds.map((workerId) => `${LOCATION_KEY}${workerId}`));
    const isThere = (key: string, values: readonly LatestValue[]): boolean =>
      values.some((value) => value.key === key);
    const unseen = workerIds.filter((workerId) => !isThere(`${LOCATION_KEY}${workerId}`, known));
    const stored = unseen.length === 0 ? [] : await locations.getMany(channel.app, unseen);
    const lastKnown = stored.flatMap((location) => (location ? valueOf(channel, location) : undefined) ?? []);
    return (values) => [
      ...values.filter((value) => !isComplete || keys.has(value.key) || !isOfDevice(value)),
      ...lastKnown.filter(({ key }) => !isThere(key, values)),
    ];
  }

  #workersOf(followed: SignalledChannel): Promise<Workers> {
    const { channel, signals } = followed;
    const known = this.#workers.get(followed);
    if (known?.signals === signals) return known.workers;
    const workers = this.options.directory.recordOf(channel).then(({ parts, isComplete }) => ({
      parts: parts.filter(({ relation }) => relation === "assigned"),
      isComplete,
    }));
    const reading = { signals, workers };
    this.#workers.set(followed, reading);
    workers.catch(() => {
      if (this.#workers.get(followed) === reading) this.#workers.delete(followed);
    });
    return workers;
  }
}

function valueOf(channel: Channel, { workerId, version, payload }: KnownLocation): LatestValue | undefined {
  const location = Location.decode(payload);
  // A location that was sent for one order only is not for the others.
  if (location.orderId !== "" && location.orderId !== channel.id) return undefined;
  const body = { $case: "location", value: location } as const;
  const event = Event.fromPartial({
    id: `${channel.name}-${workerId}-${version}`,
    channel: channel.name,
    timeMs: Math.floor(version / 1000),
    sender: { userId: workerId, role: "" },
    body,
  });
  return { key: conflationKey(body), version, payload: encode(Event, event) };
}

/** Sent by the worker's own device, and not by a service, which need not say who is assigned. */
function isOfDevice({ key, payload }: LatestValue): boolean {
  if (!key.startsWith(LOCATION_KEY)) return false;
  const { sender } = Event.decode(payload);
  return (
    sender?.userId === key.slice(LOCATION_KEY.length) && isAble(capabilityOf(sender.role), "sendLocations")
  );
}
