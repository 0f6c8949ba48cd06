/** Redis under Sentinel: the client finds the primary, and goes on with the next one after a failover. */
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import type { BrokerMessage, DurableEvent } from "#fanout/channel/broker.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { RedisSentinel } from "#test/support/redis-sentinel.js";
import { RedisConnection } from "./redis-connection.js";

const WRITES_AGAIN_MS = 5_000;
const WAIT = { timeout: 15_000, interval: 10 };

let redis: RedisSentinel;
const connections: RedisConnection[] = [];

beforeAll(async () => {
  redis = await RedisSentinel.start();
});
afterAll(async () => {
  for (const connection of connections) connection.close();
  await redis.stop();
});

async function broker(): Promise<RedisBroker> {
  const connection = await RedisConnection.connect({ sentinels: redis.addresses, sentinelName: redis.name });
  connections.push(connection);
  return new RedisBroker({ connection });
}

function event(text: string): DurableEvent {
  return { eventId: text, payload: Buffer.from(text), idempotencyKey: text };
}

async function listenTo(channel: Channel, by: RedisBroker): Promise<BrokerMessage[]> {
  const heard: BrokerMessage[] = [];
  await by.follow(channel, (message) => heard.push(message));
  return heard;
}

/** Publishes again and again, as a backend does; how long it took. */
async function untilWritten(by: RedisBroker, channel: Channel, text: string): Promise<number> {
  const beganMs = performance.now();
  await vi.waitFor(() => by.publish(channel, event(text)), WAIT);
  return performance.now() - beganMs;
}

async function untilHeard(heard: readonly BrokerMessage[], text: string): Promise<void> {
  await vi.waitFor(() => {
    const texts = heard.map((message) =>
      "payload" in message ? Buffer.from(message.payload).toString() : "",
    );
    expect(texts).toContain(text);
  }, WAIT);
}

it("takes writes within 5 s of the primary's death, and followers go on", async () => {
  const [writer, reader] = [await broker(), await broker()];
  const channels = Array.from({ length: 50 }, (_, index) => channelOf("app", "order", `killed-${index}`));
  const [order = channelOf("app", "order", "none")] = channels;
  const heard = await Promise.all(channels.map((channel) => listenTo(channel, reader)));
  await writer.publish(order, event("before"));
  await untilHeard(heard[0] ?? [], "before");

  const killed = await redis.killPrimary();
  try {
    const tookMs = await untilWritten(writer, order, "again");
    expect(tookMs).toBeLessThan(WRITES_AGAIN_MS);
    // The sentinels learn of it from each other, one after the other.
    await redis.untilFailedOver(killed);
    for (const messages of heard) {
      await vi.waitFor(() => expect(messages.map(({ type }) => type)).toContain("resubscribed"), WAIT);
    }
    for (const [index, channel] of channels.entries()) {
      await untilWritten(writer, channel, `after-${index}`);
      await untilHeard(heard[index] ?? [], `after-${index}`);
    }
  } finally {
    await redis.bringBack(killed);
  }
}, 60_000);

it("finds the primary though one sentinel is gone and another does not answer", async () => {
  const [first, second] = redis.sentinels;
  await first?.process.kill();
  second?.process.signal("SIGSTOP");
  try {
    const writer = await broker();
    await writer.publish(channelOf("app", "order", "few sentinels"), event("found"));
  } finally {
    second?.process.signal("SIGCONT");
  }
}, 30_000);

it("goes on with the next primary while the old one is frozen, and when it wakes up", async () => {
  const [writer, reader] = [await broker(), await broker()];
  const order = channelOf("app", "order", "frozen");
  const heard = await listenTo(order, reader);
  const frozen = await redis.primary();
  frozen.freeze();
  try {
    // Under load: that a peer does not answer is learned from several time-outs.
    const others = Array.from({ length: 10 }, (_, index) => channelOf("app", "order", `frozen-${index}`));
    const tookMs = await Promise.all(others.map((channel) => untilWritten(writer, channel, "while frozen")));
    expect(Math.max(...tookMs)).toBeLessThan(2 * WRITES_AGAIN_MS);
    await vi.waitFor(() => expect(heard.map(({ type }) => type)).toContain("resubscribed"), WAIT);
    await writer.publish(order, event("heard while frozen"));
    await untilHeard(heard, "heard while frozen");
  } finally {
    frozen.thaw();
  }
  await untilWritten(writer, order, "awake");
  await untilHeard(heard, "awake");
}, 60_000);
