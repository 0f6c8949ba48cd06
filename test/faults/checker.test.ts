/**
 * The checker can fail: its own writers, readers and verdict against a fanout whose broker lies, so cunningly
 * that offsets show no hole and history says the same; and against one that is unreliable and honest.
 */
import { Metadata } from "@grpc/grpc-js";
import { afterEach, expect, it } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import type { Broker } from "#fanout/channel/broker.js";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { channelOf } from "#fanout/channel/channel.js";
import { Publisher } from "#fanout/channel/publisher.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { signToken } from "#services/token/sign-token.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { waitFor } from "#test/support/wait-for.js";
import { breachesOf } from "./allowed.js";
import { ApiWriter, type Apis } from "./api-writer.js";
import { Device } from "./device.js";
import { Ledger } from "./ledger.js";
import { LyingBroker, type Lie } from "./lying-broker.js";
import { Random } from "#test/support/random.js";
import { SMALL_GATEWAY_SECRET, startSmallGateway } from "./small-gateway.js";
import { judge, missing, type Verdict } from "./verdict.js";

const APP = "default";
const WRITES = 30;
const READERS = ["ann", "bob"];
const CHANNELS = ["order:1", "order:2"];
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** The API of another, honest fanout on the same channels. */
function honestApi(channels: MemoryChannels): Apis {
  const publisher = new Publisher({
    broker: new MemoryBroker({ channels }),
    clock: channels.clock,
    deliverLocally: () => undefined,
  });
  const publish = async ([item]: readonly Readonly<Record<string, unknown>>[]) => {
    const [kind = "", id = ""] = String(item?.["channel"]).split(":");
    const payload = String(item?.["idempotency_key"]);
    const body = { $case: "orderStatus" as const, value: { orderId: id, status: payload } };
    const event = Event.fromPartial({ body });
    const channel = channelOf(APP, kind, id);
    const { position, eventId } = await publisher.publish({ channel, event, idempotencyKey: payload });
    const result = { outcome: "PUBLISH_OUTCOME_PUBLISHED", position, event_id: eventId, error: null };
    return { response: { results: [result] }, headers: new Metadata() };
  };
  return { size: 1, at: () => ({ publish }), suspectUntilMs: new Map() };
}

/** Two apps follow two orders each, a backend writes to both, and the checker says what came of it. */
async function check(broker: Broker, channels: MemoryChannels, timeoutMs: number): Promise<Verdict> {
  const { url, stop } = await startSmallGateway({ broker });
  cleanups.push(stop);
  const ledger = new Ledger();
  const random = new Random(7);
  for (const [index, name] of READERS.entries()) {
    const token = await signToken(
      { sub: name, role: "admin", app: APP, ttlSeconds: 60 },
      { ...DEFAULT_JWT_OPTIONS, secret: SMALL_GATEWAY_SECRET },
    );
    const framing = index === 0 ? "json" : "protobuf";
    const record = ledger.reader(name);
    const device = new Device({
      ...{ name, token, framing, record, random },
      edges: () => [url],
      tellsPositions: true,
    });
    cleanups.push(() => device.stop());
    await device.open();
    for (const channel of CHANNELS) await device.follow(channel);
  }
  const given = { apis: honestApi(channels), ledger, random, app: APP, deadlineMs: 1000 };
  const readers = new Set(READERS);
  const writers = CHANNELS.map(
    (channel) => new ApiWriter({ ...given, channel, readers, name: `to-${channel}` }),
  );
  for (let count = 0; count < WRITES; count += 1) {
    for (const writer of writers) writer.write();
    await Promise.all(writers.map((writer) => writer.settled()));
  }
  await waitFor(() => missing(ledger).length === 0, { what: "all writes to be read", timeoutMs }).catch(
    () => undefined, // What is missing is the verdict's to tell.
  );
  return judge(ledger, { beganMs: 0, healedMs: Infinity });
}

const NO_LIE: Lie = (events) => events;
const LOSING: Lie = (events) => events.filter((_, index) => index % 7 !== 3);
const DOUBLING: Lie = (events) =>
  events.flatMap((event, index) => (index % 5 === 3 ? [event, event] : [event]));
const SWAPPING: Lie = (events) =>
  events.slice(0, events.length - (events.length % 2)).flatMap((event, index, all) => {
    const next = all[index + 1];
    return index % 2 === 0 && next !== undefined ? [next, event] : [];
  });

function liar(lie: Lie): [Broker, MemoryChannels] {
  const channels = new MemoryChannels();
  return [new LyingBroker(new MemoryBroker({ channels }), lie), channels];
}

it("an honest broker passes", async () => {
  const verdict = await check(...liar(NO_LIE), 5000);
  expect(verdict.findings).toEqual([]);
  expect(breachesOf(verdict, {})).toEqual([]);
  expect(verdict.figures).toMatchObject({ acknowledged: 60, reads: 120, told: 0 });
});

it("a broker whose way loses messages passes too, because history makes up for them", async () => {
  const channels = new MemoryChannels();
  const broker = new UnreliableBroker(new MemoryBroker({ channels }));
  let lost = 0;
  broker.way = (message) => {
    // Not the last one of a channel: nothing would come after it to show the hole.
    if (message.type !== "durable" || message.position.offset % 4 !== 0) return [message];
    lost += 1;
    return [];
  };
  const verdict = await check(broker, channels, 5000);
  expect(lost).toBeGreaterThan(10);
  expect(verdict.findings).toEqual([]);
  expect(breachesOf(verdict, {})).toEqual([]);
});

it("a broker that loses events, and whose history and positions hide it, is caught", async () => {
  const verdict = await check(...liar(LOSING), 300);
  expect(verdict.figures.told).toBe(0);
  expect(verdict.figures.hiddenGaps).toBe(0);
  expect(verdict.figures.lostDuring).toBe(4 * CHANNELS.length * READERS.length);
  expect(breachesOf(verdict, {}).join()).toContain("lostDuring");
});

it("a broker that offers events again under new offsets is caught", async () => {
  const verdict = await check(...liar(DOUBLING), 5000);
  expect(verdict.figures.lostDuring).toBe(0);
  expect(verdict.figures.repeated).toBe(6 * CHANNELS.length * READERS.length);
  expect(verdict.figures.disagreement).toBeGreaterThan(0);
  expect(breachesOf(verdict, {}).join()).toContain("repeated");
});

it("a broker that gives events in another order is caught", async () => {
  const verdict = await check(...liar(SWAPPING), 5000);
  expect(verdict.figures).toMatchObject({ lostDuring: 0, repeated: 0 });
  expect(verdict.figures.outOfOrder).toBe((WRITES / 2) * CHANNELS.length * READERS.length);
});
