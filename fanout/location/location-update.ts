/**
 * `location_update`: a worker's position becomes their last known location, a latest event in the channels
 * that they are assigned to, and (one in `sampleEvery`) a record for other services. One that cannot be believed is
 * answered like the others and goes nowhere: there is nothing that an app could do about it.
 */
import { encode } from "#proto/encode.js";
import { GatewayError } from "#proto/errors.js";
import { Location, type Event } from "#proto/gen/realtime/client/v1/event.js";
import type { LocationUpdate } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import { isAble } from "#fanout/policy/policy.js";
import { countOne, type FanoutCounters } from "../fanout-counters.js";
import type { FrameContext, FrameHandler } from "#fanout/session/frame-handler.js";
import type { Availability } from "#fanout/presence/availability.js";
import type { LocationSampler } from "./location-sampler.js";
import { judgeLocation, type LocationLimits } from "./location-sanity.js";
import type { LocationWriter } from "./location-writer.js";
import type { WorkerAssignments } from "./worker-assignments.js";

export interface LocationUpdateOptions {
  readonly assignments: WorkerAssignments;
  readonly writer: LocationWriter;
  readonly sampler: LocationSampler;
  readonly publisher: Publisher;
  readonly counters: FanoutCounters;
  readonly limits: LocationLimits;
  readonly availability: Pick<Availability, "saidBeside">;
}

/** How far a device's clock may be ahead. */
const MAX_AHEAD_MS = 5 * 60_000;

export function locationUpdateHandler(options: LocationUpdateOptions): FrameHandler<"locationUpdate"> {
  return (context, update) => {
    const { session, receivedAtUs } = context;
    if (!isAble(session.capability, "sendLocations")) {
      throw new GatewayError(
        "permission_denied",
        "only workers (porter, driver, delivery_partner) send locations",
      );
    }
    checkLocation(update, receivedAtUs);
    const { app, userId } = session.principal;
    const channels = options.assignments.of(app, userId);
    if (!(channels instanceof Promise)) {
      accept(options, context, update, channels);
      return undefined;
    }
    return channels.then((read) => {
      accept(options, context, update, read);
      return undefined;
    });
  };
}

function accept(
  options: LocationUpdateOptions,
  context: FrameContext,
  update: LocationUpdate,
  assigned: readonly Channel[],
): void {
  const { session, receivedAtUs, correlationId, frame } = context;
  const { app, userId, role } = session.principal;
  const channels = update.orderId === "" ? assigned : assigned.filter(({ id }) => id === update.orderId);
  if (update.orderId !== "" && channels.length === 0) {
    throw new GatewayError("permission_denied", "this order is not assigned to you", {
      field: "location_update.order_id",
    });
  }
  const receivedAtMs = Math.floor(receivedAtUs / 1000);
  const location: Location = {
    workerId: userId,
    latitude: update.latitude ?? 0,
    longitude: update.longitude ?? 0,
    heading: update.heading,
    speed: update.speed,
    accuracy: update.accuracy,
    measuredAtMs: update.timestampMs === 0 ? receivedAtMs : update.timestampMs,
    orderId: update.orderId,
    available: update.available,
  };
  const { latitude, longitude, accuracy = 0, measuredAtMs } = location;
  const measured = { latitude, longitude, accuracyMeters: accuracy, measuredAtMs, receivedAtUs };
  const { track, dropped } = judgeLocation(session.locationTrack, measured, options.limits);
  session.locationTrack = track;
  // Whether they take offers holds wherever they are, but not what they said before.
  if (update.available !== undefined && dropped !== "outdated")
    options.availability.saidBeside(session, update.available, receivedAtUs);
  if (dropped !== undefined) {
    countOne(options.counters.locationsDropped, dropped);
    return;
  }
  options.counters.locationUpdates += 1;
  options.writer.write({
    app,
    workerId: userId,
    version: receivedAtUs,
    payload: encode(Location, location),
    point: { latitude, longitude },
  });
  const event: Event = {
    id: `${session.connectionId}-${receivedAtUs}`,
    channel: "",
    position: undefined,
    timeMs: receivedAtMs,
    sender: { userId, role },
    correlationId: frame.correlationId,
    traceparent: frame.traceparent,
    body: { $case: "location", value: location },
  };
  for (const channel of channels) {
    // Latest values are not promised to be stored: whoever follows here has it already.
    options.publisher
      .publish({ channel, event, version: receivedAtUs })
      .catch(() => (options.counters.storeFailures += 1));
  }
  session.sampleCounter += 1;
  options.sampler.offer(session, { location, receivedAtUs, correlationId, traceparent: frame.traceparent });
}

/** @throws GatewayError invalid_argument naming the field. */
export function checkLocation(update: LocationUpdate, receivedAtUs: number): void {
  inRange("latitude", update.latitude, -90, 90);
  inRange("longitude", update.longitude, -180, 180);
  if (update.heading !== undefined) inRange("heading", update.heading, 0, 360);
  if (update.speed !== undefined) inRange("speed", update.speed, 0, 1000);
  if (update.accuracy !== undefined) inRange("accuracy", update.accuracy, 0, 1_000_000);
  inRange("timestamp_ms", update.timestampMs, 0, receivedAtUs / 1000 + MAX_AHEAD_MS);
}

function inRange(field: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined) {
    throw new GatewayError("invalid_argument", `${field} must be given`, {
      field: `location_update.${field}`,
    });
  }
  if (value >= min && value <= max) return; // False for NaN too.
  const bounds =
    field === "timestamp_ms"
      ? "of milliseconds since 1970, not more than 5 minutes ahead"
      : `from ${min} to ${max}`;
  throw new GatewayError("invalid_argument", `${field} must be a number ${bounds}`, {
    field: `location_update.${field}`,
  });
}
