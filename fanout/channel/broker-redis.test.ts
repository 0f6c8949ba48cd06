/** The Redis broker: the contract, what only a store can get wrong, and how it lives through an outage. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { channelKeys } from "#fanout/redis/keys.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { RedisBroker } from "./broker-redis.js";
import { describeBroker } from "./broker.contract.js";
import type { BrokerMessage, DurableEvent } from "./broker.js";
import { withUserTtl } from "./channel-kinds.js";
import { channelOf, type Channel } from "./channel.js";

const WAIT = { timeout: 10_000, interval: 10 };

function event(text: string, more: Partial<DurableEvent> = {}): DurableEvent {
  return { eventId: text, payload: Buffer.from(text), idempotencyKey: text, ...more };
}

describeBroker("the broker in Redis", async () => {
  const connections: RedisConnection[] = [];
  return {
    broker: async () => {
      const connection = await RedisConnection.connect({ url: inject("redisUrl") });
      connections.push(connection);
      return new RedisBroker({ connection });
    },
    close: async () => {
      for (const connection of connections) connection.close();
    },
  };
});

describe("the broker in Redis, by itself", () => {
  let connection: RedisConnection;
  let order: Channel;

  beforeEach(async () => {
    connection = await RedisConnection.connect({ url: inject("redisUrl") });
    order = channelOf(`app-${randomUUID()}`, "order", "42");
  });
  afterEach(() => connection.close());

  it("writes the outbox in the same step, and refuses events that need it at its bound", async () => {
    const broker = new RedisBroker({ connection });
    const outbox = { topic: "chat-events", key: "42" };
    const answer = await broker.publish(order, event("m1", { outbox }));
    expect(answer).toMatchObject({ outcome: "published", position: { offset: 1 } });
    await broker.publish(order, event("m1", { outbox }));
    const entries = await connection.run((client) => client.xrange(channelKeys(order).outbox, "-", "+"));
    const own = entries.filter(([, fields]) => fields.includes(order.key));
    expect(own).toHaveLength(1);
    expect(own[0]?.[1]).toEqual(
      expect.arrayContaining(["topic", "chat-events", "key", "42", "m1", "offset", "1"]),
    );

    const bounded = new RedisBroker({ connection, outboxBound: 1 });
    await expect(bounded.publish(order, event("m2", { outbox }))).rejects.toMatchObject({
      kind: "unavailable",
      retryAfterMs: 5_000,
    });
    expect(await bounded.publish(order, event("m3"))).toMatchObject({ position: { offset: 2 } });
  });

  it("gives every key of a channel a lifetime, and its epoch a day more", async () => {
    const broker = new RedisBroker({ connection });
    const keys = channelKeys(order);
    await broker.publish(order, event("e1"));
    await broker.update(order, { key: "eta:42", version: 1, payload: Buffer.from("5 min") });
    const epochTtlMs = await connection.run((client) => client.pttl(keys.meta));
    expect(epochTtlMs).toBeGreaterThan(3_500_000 + 86_400_000);
    expect(epochTtlMs).toBeLessThanOrEqual(3_600_000 + 86_400_000);
    for (const key of [keys.history, keys.answers, keys.answerOrder, keys.latest]) {
      const ttlMs = await connection.run((client) => client.pttl(key));
      expect(ttlMs).toBeGreaterThan(3_500_000);
      expect(ttlMs).toBeLessThanOrEqual(3_600_000);
    }
  });

  it("keeps a user's channel for as long as is configured, and others as they are", async () => {
    const broker = new RedisBroker({ connection, kinds: withUserTtl(600_000) });
    const lifetimesOf = async (channel: Channel): Promise<number[]> => {
      await broker.publish(channel, event("e1"));
      await broker.update(channel, { key: "unread:c1", version: 1, payload: Buffer.from("1") });
      const { history, latest } = channelKeys(channel);
      return Promise.all([history, latest].map((key) => connection.run((client) => client.pttl(key))));
    };
    for (const ttlMs of await lifetimesOf(channelOf(order.app, "user", "u1"))) {
      expect(ttlMs).toBeGreaterThan(500_000);
      expect(ttlMs).toBeLessThanOrEqual(600_000);
    }
    for (const ttlMs of await lifetimesOf(order)) expect(ttlMs).toBeGreaterThan(3_500_000);
  });

  it("begins a new epoch when the channel's record was lost, and mixes nothing with the old one", async () => {
    const broker = new RedisBroker({ connection });
    const first = await broker.publish(order, event("e1"));
    await broker.publish(order, event("e2"));
    await connection.run((client) => client.del(channelKeys(order).meta));
    const again = await broker.publish(order, event("e1"));
    expect(again).toMatchObject({ outcome: "published", position: { offset: 1 } });
    if (first.outcome === "stale" || again.outcome === "stale") throw new Error("both were published");
    expect(again.position.epoch).not.toBe(first.position.epoch);
    expect(await broker.history(order, { afterOffset: 0, limit: 10 })).toHaveLength(1);
  });

  it("forgets a latest value at the end of its own lifetime, not of its neighbours'", async () => {
    const broker = new RedisBroker({ connection });
    const { latest } = channelKeys(order);
    await broker.update(order, { key: "eta:1", version: 9, payload: Buffer.from("old") });
    const stored = await connection.run((client) => client.hgetBuffer(latest, "eta:1"));
    if (!stored) throw new Error("the value was not stored");
    // As if its hour were over: bytes 8 to 15 are its expiry.
    stored.fill(0, 8, 16);
    await connection.run((client) => client.hset(latest, "eta:1", stored));
    await broker.update(order, { key: "eta:2", version: 1, payload: Buffer.from("new") });
    expect((await broker.state(order)).latest.map(({ key }) => key)).toEqual(["eta:2"]);
    await broker.update(order, { key: "eta:1", version: 1, payload: Buffer.from("lower, but alive") });
    expect((await broker.state(order)).latest).toHaveLength(2);
  });

  it("keeps a bound on latest values in one channel", async () => {
    const broker = new RedisBroker({ connection });
    const updates = Array.from({ length: 1_200 }, (_, index) =>
      broker.update(order, { key: `presence:${index}`, version: 1, payload: Buffer.from("on") }),
    );
    await Promise.all(updates);
    expect((await broker.state(order)).latest.length).toBeLessThanOrEqual(1_024);
  });

  it("keeps a bound on the versions in one channel, which never end while it is in use", async () => {
    const broker = new RedisBroker({ connection });
    const versioned = (index: number): DurableEvent =>
      event(`e${index}`, { version: { subject: `orderStatus:${index}`, number: 2 } });
    await Promise.all(Array.from({ length: 4_400 }, (_, index) => broker.publish(order, versioned(index))));
    const fields = await connection.run((client) => client.hlen(channelKeys(order).meta));
    expect(fields).toBeLessThanOrEqual(4_097);
    const older = { version: { subject: "orderStatus:4399", number: 1 } };
    expect(await broker.publish(order, event("older", older))).toMatchObject({ outcome: "stale" });
  });

  it("makes no key from an id that could steer one", async () => {
    const broker = new RedisBroker({ connection });
    for (const id of ["a:meta", "{x}", "*", "a\nb", "x".repeat(10_000), "~", "", "é"]) {
      const channel = channelOf(order.app, "order", id);
      const keys = Object.values(channelKeys(channel)).filter((key) => typeof key === "string");
      for (const key of keys) expect(key).toMatch(/^\{[0-9a-z]+\}:[A-Za-z0-9_.@|+=~:/-]+$/);
      expect(await broker.publish(channel, event("e"))).toMatchObject({ position: { offset: 1 } });
    }
  });

  it("does not let messages of a later release disturb it", async () => {
    const broker = new RedisBroker({ connection });
    const heard: BrokerMessage[] = [];
    await broker.follow(order, (message) => heard.push(message));
    const foreign = [
      Buffer.from([2, 1, 0, 4]),
      Buffer.from([1, 99, 0, 4]),
      Buffer.from([]),
      Buffer.from([1, 1]),
    ];
    // A header that is longer than this release knows, before the payload.
    const longer = Buffer.from([1, 4, 0, 6, 7, 7, 42]);
    for (const bytes of [...foreign, longer]) {
      await connection.run((client) => client.spublish(channelKeys(order).pubsub, bytes));
    }
    await vi.waitFor(() => expect(heard).toHaveLength(1), WAIT);
    expect(heard[0]).toEqual({ type: "signal", signal: Buffer.from([42]) });
  });
});

describe("the broker in Redis, in an outage", () => {
  let redis: RunningRedis;
  let connection: RedisConnection;
  let broker: RedisBroker;
  const order = channelOf("app", "order", "42");

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.kill());
  beforeEach(async () => {
    connection = await RedisConnection.connect({ url: redis.url });
    broker = new RedisBroker({ connection });
  });
  afterEach(() => connection.close());

  async function expectUnavailable(call: () => Promise<unknown>): Promise<void> {
    const startedAt = performance.now();
    await expect(call()).rejects.toMatchObject({
      kind: "unavailable",
      retryAfterMs: expect.any(Number) as unknown,
    });
    // A time-out of a second, and what was sent a turn before it has one too.
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  }

  const everyCall: readonly (() => Promise<unknown>)[] = [
    () => broker.publish(order, event(randomUUID())),
    () => broker.update(order, { key: "eta:1", version: 1, payload: Buffer.from("x") }),
    () => broker.tell(order, { signal: Buffer.from("x") }),
    () => broker.state(order),
    () => broker.positions([order]),
    () => broker.history(order, { afterOffset: 0, limit: 1 }),
    () => broker.follow(channelOf("app", "order", "not yet followed"), () => undefined),
  ];

  it("fails at once while Redis is dead, and works when it is back", async () => {
    const heard: BrokerMessage[] = [];
    const changes: boolean[] = [];
    await broker.follow(order, (message) => heard.push(message));
    const stop = connection.onChange(({ isUp }) => changes.push(isUp));
    expect(connection.status()).toEqual({ isUp: true, reconnectAttempts: 0 });

    await redis.kill();
    await Promise.all(everyCall.map(expectUnavailable));
    await vi.waitFor(() => expect(connection.status().reconnectAttempts).toBeGreaterThan(0), WAIT);
    expect(connection.status().isUp).toBe(false);
    for (const call of everyCall) await expectUnavailable(call);
    await broker.unfollow(order);
    await broker.unfollow(order);

    redis = await startRedis({ port: redis.port });
    await vi.waitFor(() => expect(connection.status()).toEqual({ isUp: true, reconnectAttempts: 0 }), WAIT);
    expect(changes).toContain(false);
    expect(changes.at(-1)).toBe(true);
    stop();
    await broker.follow(order, (message) => heard.push(message));
    expect(await broker.publish(order, event("after"))).toMatchObject({ outcome: "published" });
    await vi.waitFor(() => expect(heard.map(({ type }) => type)).toContain("durable"), WAIT);
  });

  it("subscribes everything again after an outage and tells every follower", async () => {
    const channels = Array.from({ length: 600 }, (_, index) => channelOf("app", "order", `o${index}`));
    const resubscribed = new Set<string>();
    const durable = new Set<string>();
    await Promise.all(
      channels.map((channel) =>
        broker.follow(channel, ({ type }) => {
          if (type === "resubscribed") resubscribed.add(channel.key);
          if (type === "durable") durable.add(channel.key);
        }),
      ),
    );
    await redis.kill();
    redis = await startRedis({ port: redis.port });
    await vi.waitFor(() => expect(resubscribed.size).toBe(channels.length), WAIT);
    await vi.waitFor(() => expect(connection.status().isUp).toBe(true), WAIT);
    await Promise.all(channels.map((channel) => broker.publish(channel, event(randomUUID()))));
    await vi.waitFor(() => expect(durable.size).toBe(channels.length), WAIT);
  });

  it("fails within the time-out while Redis is frozen, then at once, and recovers", async () => {
    redis.freeze();
    try {
      for (let round = 0; round < 3; round++) await Promise.all(everyCall.slice(0, 6).map(expectUnavailable));
      expect(connection.status().isUp).toBe(false);
      const startedAt = performance.now();
      await expectUnavailable(() => broker.state(order));
      // Not after a time-out, which is a second.
      expect(performance.now() - startedAt).toBeLessThan(700);
    } finally {
      redis.thaw();
    }
    await vi.waitFor(() => broker.publish(order, event(randomUUID())), WAIT);
    await vi.waitFor(() => expect(connection.status().isUp).toBe(true), WAIT);
  });
});
