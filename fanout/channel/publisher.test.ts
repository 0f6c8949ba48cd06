import { beforeEach, describe, expect, it } from "vitest";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { eventOf, location, order, SILENT, status } from "#test/support/fanout-core.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { channelKeys } from "#fanout/redis/keys.js";
import { FanoutCounters } from "../fanout-counters.js";
import type { BrokerMessage } from "./broker.js";
import { MemoryBroker, MemoryChannels } from "./broker-memory.js";
import { channelOf } from "./channel.js";
import { Channels } from "./channels.js";
import type { FollowedChannel } from "./followed-channel.js";
import { OutboxTopics } from "./outbox-topics.js";
import { Publisher } from "./publisher.js";

const channel = order("42");
const typing = eventOf({ $case: "typing", value: { userId: "u1", connectionId: "c1", typing: true } });
let nowUs: number;
let memory: MemoryChannels;
let broker: UnreliableBroker;
let publisher: Publisher;
/** What this process's followers were given before the store was asked. */
let local: BrokerMessage[];

beforeEach(() => {
  nowUs = 5_000_000;
  memory = new MemoryChannels();
  broker = new UnreliableBroker(new MemoryBroker({ channels: memory }));
  local = [];
  publisher = new Publisher({
    broker,
    clock: { nowUs: () => nowUs },
    deliverLocally: (_channel, message) => local.push(message),
  });
});

describe("a durable event", () => {
  it("is completed, stored and answered with its position; nobody here hears it before", async () => {
    const result = await publisher.publish({ channel, event: eventOf(status("paid")) });
    expect(result).toMatchObject({ outcome: "published", position: { offset: 1 } });
    expect(result.eventId).not.toBe("");
    const [stored] = await broker.history(channel, { afterOffset: 0, limit: 1 });
    const event = Event.decode(stored?.payload ?? new Uint8Array());
    expect(event).toMatchObject({
      id: result.eventId,
      channel: "order:42",
      timeMs: 5000,
      body: status("paid"),
    });
    expect(event.position).toBeUndefined();
    expect(local).toEqual([]);
  });

  it("keeps the id and the time that it has, and its id makes it repeatable", async () => {
    const event = { ...eventOf(status("paid")), id: "e1", timeMs: 77 };
    const first = await publisher.publish({ channel, event });
    const second = await publisher.publish({ channel, event });
    expect(first).toMatchObject({ outcome: "published", eventId: "e1" });
    expect(second).toMatchObject({ outcome: "repeated", eventId: "e1", position: first.position });
    const [stored] = await broker.history(channel, { afterOffset: 0, limit: 2 });
    expect(Event.decode(stored?.payload ?? new Uint8Array()).timeMs).toBe(77);
  });

  it("older than the known state of the same subject is stale; another subject's is not", async () => {
    const of = (orderId: string, version: number) => {
      const body = status("any");
      if (body.$case !== "orderStatus") throw new Error("a status");
      return publisher.publish({
        channel,
        event: eventOf({ ...body, value: { ...body.value, orderId } }),
        version,
      });
    };
    expect((await of("1", 5)).outcome).toBe("published");
    expect(await of("1", 4)).not.toHaveProperty("position");
    expect((await of("1", 5)).outcome).toBe("stale");
    expect((await of("2", 1)).outcome).toBe("published");
  });

  it("of a type that is marked goes to the outbox too, whoever published it", async () => {
    const outboxTopics = new OutboxTopics({ customTypes: ["job.done"], customTopic: "custom-events" });
    const marking = new Publisher({
      broker,
      clock: { nowUs: () => nowUs },
      deliverLocally: () => undefined,
      outboxTopics,
    });
    const event = (type: string) => ({
      ...eventOf({ $case: "custom", value: { type } }),
      sender: { userId: "", role: "service" },
    });
    const { eventId } = await marking.publish({ channel, event: event("job.done") });
    await marking.publish({ channel, event: event("job.begun") });
    await publisher.publish({ channel, event: event("job.done") });
    expect(memory.outbox.waiting(channelKeys(channel).partition.index)).toMatchObject([
      { topic: "custom-events", key: "42", eventId },
    ]);
  });

  it("fails with unavailable while the store is away", async () => {
    broker.isAway = true;
    const publishing = publisher.publish({ channel, event: eventOf(status("paid")) });
    await expect(publishing).rejects.toMatchObject({ kind: "unavailable" });
    expect(local).toEqual([]);
  });
});

describe("a latest value", () => {
  it("is given to this process's followers first, also while the store is away", async () => {
    broker.isAway = true;
    const publishing = publisher.publish({ channel, event: eventOf(location("p1", 1)), version: 9 });
    expect(local).toMatchObject([{ type: "latest", value: { key: "location:p1", version: 9 } }]);
    await expect(publishing).rejects.toMatchObject({ kind: "unavailable" });
  });

  it("has the store's time as its version, and no position", async () => {
    const result = await publisher.publish({ channel, event: eventOf(location("p1", 1)) });
    expect(result.position).toBeUndefined();
    expect((await broker.state(channel)).latest).toMatchObject([{ key: "location:p1", version: 5_000_000 }]);
    expect(await broker.history(channel, { afterOffset: 0, limit: 1 })).toEqual([]);
  });
});

describe("the way back from the store", () => {
  let channels: Channels;
  let followed: FollowedChannel;
  let heard: string[];

  beforeEach(async () => {
    channels = new Channels({
      broker,
      counters: new FanoutCounters(),
      logger: SILENT,
      nowMs: Date.now,
      onSignal: () => undefined,
      onInterrupted: () => undefined,
    });
    publisher = new Publisher({
      broker,
      clock: { nowUs: () => (nowUs += 1) },
      deliverLocally: (to, message) => channels.deliverLocally(to, message),
    });
    heard = [];
    followed = channels.acquire(channel);
    followed.audiences.add({ deliver: ({ kind }) => heard.push(kind.class), missed: () => undefined });
    await followed.active();
    return () => channels.close();
  });

  it("doubles nothing of what was given here already", async () => {
    await publisher.publish({ channel, event: eventOf(location("p1", 1)) });
    await publisher.publish({ channel, event: typing });
    await publisher.publish({ channel, event: eventOf(status("paid")) });
    await new Promise((resolve) => setImmediate(resolve));
    expect(heard).toEqual(["latest", "ephemeral", "durable"]);
  });
});

it("an event without a body, or for a kind of channel that does not exist, is refused", async () => {
  const empty = Event.fromPartial({});
  await expect(publisher.publish({ channel, event: empty })).rejects.toMatchObject({
    kind: "invalid_argument",
  });
  const nowhere = channelOf("default", "planet", "1");
  const publishing = publisher.publish({ channel: nowhere, event: eventOf(status("any")) });
  await expect(publishing).rejects.toMatchObject({ kind: "not_found" });
});
