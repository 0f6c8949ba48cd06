import { beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { ClientFrame, type LocationUpdate } from "#proto/gen/realtime/client/v1/client_frame.js";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import { SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import { order } from "#test/support/fanout-core.js";
import { rememberedSession } from "#test/support/remembered-session.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import type { BrokerMessage } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import { Publisher } from "#fanout/channel/publisher.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import type { SinkRecord } from "#fanout/event/event-sink.js";
import type { FrameResult } from "#fanout/session/frame-handler.js";
import { FanoutCounters } from "../fanout-counters.js";
import { LocationSampler } from "./location-sampler.js";
import { checkLocation, locationUpdateHandler } from "./location-update.js";
import { LocationWriter } from "./location-writer.js";
import { MemoryLocations } from "./locations-memory.js";
import { WorkerAssignments } from "./worker-assignments.js";

const NOW_MS = 1_750_000_000_000;
const NOW_US = NOW_MS * 1000;
const VALID: LocationUpdate = { latitude: 51.5, longitude: -0.1, timestampMs: NOW_MS, orderId: "" };

let counters: FanoutCounters;
let directory: MemoryDirectory;
let delivered: { channel: Channel; message: BrokerMessage }[];
let records: SinkRecord[];
let writer: LocationWriter;
let locations: MemoryLocations;
let handler: ReturnType<typeof locationUpdateHandler>;
let session: ReturnType<typeof rememberedSession>["session"];
let isSinkAway: boolean;
let saidAvailable: boolean[];

beforeEach(async () => {
  counters = new FanoutCounters();
  directory = new MemoryDirectory();
  delivered = [];
  records = [];
  isSinkAway = false;
  saidAvailable = [];
  locations = new MemoryLocations();
  writer = new LocationWriter({ locations, counters });
  const publisher = new Publisher({
    broker: new MemoryBroker(),
    clock: { nowUs: () => NOW_US },
    deliverLocally: (channel, message) => delivered.push({ channel, message }),
  });
  const send = (sent: readonly SinkRecord[]): Promise<void> => {
    if (isSinkAway) return Promise.reject(new GatewayError("unavailable", "away"));
    records.push(...sent);
    return Promise.resolve();
  };
  const sink = { send, close: () => Promise.resolve() };
  handler = locationUpdateHandler({
    assignments: new WorkerAssignments({
      directory,
      clock: { nowUs: () => NOW_MS * 1000 },
      nowMs: () => NOW_MS,
    }),
    writer,
    sampler: new LocationSampler({ sink, sampleEvery: 10, topic: "porter-events", counters }),
    publisher,
    counters,
    limits: { maxAccuracyMeters: 200, maxSpeedMetersPerSecond: 100 },
    availability: { saidBeside: (_worker, isAvailable) => saidAvailable.push(isAvailable) },
  });
  ({ session } = rememberedSession({ handle: () => undefined }));
  for (const [id, relation] of [
    ["1", "assigned"],
    ["2", "assigned"],
    ["3", "owner"],
  ] as const) {
    await directory.grant({
      channel: order(id),
      userId: "p1",
      relation,
      expiresAtMs: Number.MAX_SAFE_INTEGER,
    });
  }
  return () => writer.stop();
});

async function update(more: Partial<LocationUpdate> = {}, receivedAtUs = NOW_US): Promise<FrameResult> {
  const frame = ClientFrame.fromPartial({ traceparent: "t-1", correlationId: "c-1" });
  const context = {
    session,
    frame,
    receivedAtUs,
    correlationId: "c-1",
    requestKey: "",
    answer: () => undefined,
  };
  return handler(context, { ...VALID, ...more });
}

describe("a location's fields", () => {
  it.each<[string, Partial<LocationUpdate>]>([
    ["latitude", { latitude: undefined }],
    ["longitude", { longitude: undefined }],
    ["latitude", { latitude: 90.0001 }],
    ["latitude", { latitude: -91 }],
    ["latitude", { latitude: Number.NaN }],
    ["latitude", { latitude: Infinity }],
    ["longitude", { longitude: 180.5 }],
    ["longitude", { longitude: -Infinity }],
    ["heading", { heading: 361 }],
    ["heading", { heading: -1 }],
    ["heading", { heading: Number.NaN }],
    ["speed", { speed: -1 }],
    ["speed", { speed: 1001 }],
    ["accuracy", { accuracy: -0.1 }],
    ["accuracy", { accuracy: 1e7 }],
    ["timestamp_ms", { timestampMs: NOW_MS + 365 * 86_400_000 }],
    ["timestamp_ms", { timestampMs: NOW_MS + 5 * 60_000 + 1 }],
    ["timestamp_ms", { timestampMs: -1 }],
  ])("%s: %o is refused", (field, more) => {
    const check = (): void => checkLocation({ ...VALID, ...more }, NOW_US);
    expect(check).toThrow(
      expect.objectContaining({ kind: "invalid_argument", field: `location_update.${field}` }) as Error,
    );
  });

  it.each<Partial<LocationUpdate>>([
    {},
    { latitude: 90, longitude: 180, heading: 360, speed: 1000, accuracy: 1_000_000 },
    { latitude: -90, longitude: -180, heading: 0, speed: 0, accuracy: 0 },
    { timestampMs: 0 },
    { timestampMs: NOW_MS + 5 * 60_000 },
    { timestampMs: NOW_MS - 365 * 86_400_000 },
  ])("%o are taken", (more) => {
    expect(() => checkLocation({ ...VALID, ...more }, NOW_US)).not.toThrow();
  });
});

describe("a location", () => {
  it("reaches the channels that the worker is assigned to, and no other", async () => {
    await update();
    expect(delivered.map(({ channel }) => channel.name)).toEqual(["order:1", "order:2"]);
    expect(delivered[0]?.message).toMatchObject({
      type: "latest",
      value: { key: "location:p1", version: NOW_US },
    });
  });

  it("for one order reaches that order only", async () => {
    await update({ orderId: "2" });
    expect(delivered.map(({ channel }) => channel.name)).toEqual(["order:2"]);
  });

  it.each(["3", "99", "1:2", "{}"])(
    "for order %j, which is not assigned, is refused and goes nowhere",
    async (orderId) => {
      await expect(update({ orderId })).rejects.toMatchObject({
        kind: "permission_denied",
        field: "location_update.order_id",
      });
      expect([delivered.length, writer.waiting, counters.locationUpdates]).toEqual([0, 0, 0]);
    },
  );

  it("of who is no worker is refused", () => {
    for (const role of ["customer", "admin", "restaurant", "user", "", "__proto__"]) {
      ({ session } = rememberedSession({ handle: () => undefined, principal: { role } }));
      const context = {
        session,
        frame: ClientFrame.fromPartial({}),
        receivedAtUs: 1,
        correlationId: "",
        requestKey: "",
        answer: () => undefined,
      };
      expect(() => handler(context, VALID)).toThrow(
        expect.objectContaining({ kind: "permission_denied" }) as Error,
      );
    }
  });

  it("becomes the last known one, measured when it came where the device does not say", async () => {
    await update({ timestampMs: 0 });
    await writer.stop();
    const known = await locations.get("default", "p1");
    expect(known?.version).toBe(NOW_US);
    const stored = Location.decode(known?.payload ?? new Uint8Array());
    expect(stored).toMatchObject({ workerId: "p1", latitude: 51.5, measuredAtMs: NOW_MS });
  });

  it("costs no look-up after the first", async () => {
    await update();
    const frame = ClientFrame.fromPartial({});
    const context = {
      session,
      frame,
      receivedAtUs: NOW_US + 1,
      correlationId: "",
      requestKey: "",
      answer: () => undefined,
    };
    expect(handler(context, VALID)).toBeUndefined();
    expect(delivered).toHaveLength(4);
  });

  it("is sampled once in ten, marked as the gateway's own", async () => {
    for (let index = 1; index <= 25; index += 1) await update({ heading: index }, NOW_US + index);
    expect(
      records.map(({ value }) => (JSON.parse(Buffer.from(value).toString()) as { data: unknown }).data),
    ).toMatchObject([
      { porterId: "p1", latitude: 51.5, longitude: -0.1, heading: 10, timestamp: NOW_MS },
      { porterId: "p1", heading: 20 },
    ]);
    expect(records[0]).toMatchObject({
      topic: "porter-events",
      key: "p1",
      headers: { source: "realtime-gateway" },
    });
    expect(counters).toMatchObject({ locationUpdates: 25, locationsSampled: 2, sampleFailures: 0 });
  });

  it("that Kafka does not take is counted, and the worker notices nothing", async () => {
    isSinkAway = true;
    for (let index = 1; index <= 10; index += 1) expect(await update({}, NOW_US + index)).toBeUndefined();
    expect(counters.sampleFailures).toBe(1);
  });

  it.each<[string, Partial<LocationUpdate>]>([
    ["outdated", { timestampMs: NOW_MS - 1 }],
    ["inaccurate", { accuracy: 201 }],
    ["impossible_speed", { latitude: 52.5 }],
  ])("that is %s is answered like the others, counted, and goes nowhere", async (reason, more) => {
    await update();
    await writer.stop();
    delivered = [];
    expect(await update({ ...more, available: true }, NOW_US + 1)).toBeUndefined();
    expect([delivered.length, writer.waiting, session.sampleCounter]).toEqual([0, 0, 1]);
    expect(counters.locationUpdates).toBe(1);
    expect([...counters.locationsDropped]).toEqual([[reason, 1]]);
    // Whether they take offers holds wherever they are.
    expect(saidAvailable).toEqual(reason === "outdated" ? [] : [true]);
    await update({}, NOW_US + 2);
    expect(delivered).toHaveLength(2);
  });

  it("is held against the last one of its session, which goes with it to its next home", async () => {
    await update({ accuracy: 5 });
    expect(SessionSnapshot.decode(session.snapshot()).lastLocation).toEqual({
      latitude: 51.5,
      longitude: -0.1,
      accuracyMeters: 5,
      measuredAtMs: NOW_MS,
      receivedAtUs: NOW_US,
    });
    const other = rememberedSession({ handle: () => undefined }).session;
    expect(SessionSnapshot.decode(other.snapshot()).lastLocation).toBeUndefined();
  });
});
