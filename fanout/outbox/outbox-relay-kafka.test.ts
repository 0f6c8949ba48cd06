/** The relay between a real Redis, of its own because leases are the same for all, and the shared Kafka. */
import { randomUUID } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";
import { afterEach, describe, expect, inject, it, vi } from "vitest";
import type {} from "#test/support/provided-context.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import { channelOf } from "#fanout/channel/channel.js";
import { KafkaEventSink } from "#fanout/event/event-sink-kafka.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { startRedis } from "#test/support/redis.js";
import { LEASE_COUNT } from "./outbox.js";
import { RedisOutbox } from "./outbox-redis.js";
import { OutboxRelay } from "./outbox-relay.js";

const WAIT = { timeout: 30_000, interval: 20 };
const EVENTS = 200;
const KEYS = 10;
const kafkaConnection = { brokers: inject("kafkaBrokers").split(","), clientId: "realtime-gateway-test" };
const logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function ignore(): void {
  // Tests look at what arrives, not at the log.
}

describe("outbox relays between Redis and Kafka", { timeout: 60_000 }, () => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function connect(url: string): Promise<RedisConnection> {
    const connection = await RedisConnection.connect({ url });
    closing.push(() => connection.close());
    return connection;
  }

  async function relayOn(url: string, holder: string): Promise<OutboxRelay> {
    const sink = new KafkaEventSink({ connection: kafkaConnection, logger });
    await sink.start();
    closing.push(() => sink.close());
    const outbox = new RedisOutbox({ connection: await connect(url) });
    const relay = new OutboxRelay({ outbox, sink, logger, holder, nowMs: () => performance.now() });
    closing.push(() => relay.stop());
    return relay;
  }

  async function makeTopic(): Promise<string> {
    const topic = `out-${randomUUID()}`;
    const admin = new Kafka({ ...kafkaConnection, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    closing.push(() => admin.disconnect());
    await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 4 }] });
    // Best effort: the name is unique, and a busy broker may answer after kafkajs has given up.
    closing.push(() => admin.deleteTopics({ topics: [topic] }).catch(() => undefined));
    return topic;
  }

  /** What other services read, in order within each key: the ids of events. */
  async function listen(topic: string): Promise<ReadonlyMap<string, readonly string[]>> {
    const consumer = new Kafka({ ...kafkaConnection, logLevel: logLevel.NOTHING }).consumer({
      groupId: `reader-${randomUUID()}`,
      maxWaitTimeInMs: 200,
    });
    await consumer.connect();
    closing.push(() => consumer.disconnect());
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    const read = new Map<string, string[]>();
    await consumer.run({
      eachMessage: async ({ message: { key, headers, value } }) => {
        const { eventId } = JSON.parse(String(value)) as { eventId: string };
        expect(String(headers?.["event-id"])).toBe(eventId);
        const ids = read.get(String(key)) ?? [];
        read.set(String(key), ids);
        ids.push(eventId);
        return Promise.resolve();
      },
    });
    return read;
  }

  it("bring everything over in each key's order, while one of two is stopped in the middle", async () => {
    const redis = await startRedis();
    closing.push(() => redis.kill());
    const topic = await makeTopic();
    const read = await listen(topic);
    const broker = new RedisBroker({ connection: await connect(redis.url) });
    const publish = async (from: number, to: number): Promise<void> => {
      for (let index = from; index < to; index++) {
        const id = `c${index % KEYS}`;
        const event = Event.fromPartial({ id: `${id}-${index}`, timeMs: Date.now() });
        event.body = { $case: "chatDeleted", value: { messageId: String(index) } };
        await broker.publish(channelOf("default", "conversation", id), {
          eventId: event.id,
          payload: Event.encode(event).finish(),
          idempotencyKey: event.id,
          outbox: { topic, key: id },
        });
      }
    };
    const [first, second] = [await relayOn(redis.url, "first"), await relayOn(redis.url, "second")];
    // Half of the leases each, and in whichever way the ten conversations lie, some for both.
    await vi.waitFor(async () => {
      await Promise.all([first.tick(), second.tick()]);
      expect(first.leases + second.leases).toBe(LEASE_COUNT);
    }, WAIT);
    expect(first.leases).toBeGreaterThan(0);
    expect(second.leases).toBeGreaterThan(0);
    first.start();
    second.start();

    await publish(0, EVENTS / 2);
    const publishing = publish(EVENTS / 2, EVENTS);
    await first.stop();
    await publishing;

    const wanted = new Map<string, string[]>();
    for (let index = 0; index < EVENTS; index++) {
      const key = `c${index % KEYS}`;
      wanted.set(key, [...(wanted.get(key) ?? []), `${key}-${index}`]);
    }
    await vi.waitFor(() => {
      const firsts = new Map([...read].map(([key, ids]) => [key, [...new Set(ids)]]));
      expect(Object.fromEntries(firsts)).toEqual(Object.fromEntries(wanted));
    }, WAIT);
    await vi.waitFor(() => expect(second.leases).toBe(LEASE_COUNT), WAIT);
    expect(first.counters.relayed).toBeGreaterThan(0);
    expect(first.counters.relayed + second.counters.relayed).toBeGreaterThanOrEqual(EVENTS);
    const outbox = new RedisOutbox({ connection: await connect(redis.url) });
    await vi.waitFor(async () => {
      const backlog = await outbox.backlog(Array.from({ length: 128 }, (_, index) => index));
      expect(backlog.reduce((sum, { count }) => sum + count, 0)).toBe(0);
    }, WAIT);
  });
});
