/** The relay on a real Redis of its own: what only the way to it can get wrong. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import { channelOf } from "#fanout/channel/channel.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { LEASE_COUNT } from "./outbox.js";
import { RedisOutbox } from "./outbox-redis.js";
import { OutboxRelay } from "./outbox-relay.js";

const WAIT = { timeout: 15_000, interval: 10 };
const logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function ignore(): void {
  // Tests look at what arrives, not at the log.
}

describe("the outbox relay on Redis", () => {
  let redis: RunningRedis;
  let connection: RedisConnection;
  let arrived: string[];
  let relay: OutboxRelay;

  beforeEach(async () => {
    redis = await startRedis();
    connection = await RedisConnection.connect({ url: redis.url });
    arrived = [];
    relay = new OutboxRelay({
      outbox: new RedisOutbox({ connection }),
      sink: {
        send: async (records) => {
          for (const { headers } of records) arrived.push(headers["event-id"] ?? "");
        },
      },
      logger,
      holder: "a",
      nowMs: () => performance.now(),
    });
  });
  afterEach(async () => {
    await relay.stop();
    connection.close();
    await redis.kill();
  });

  async function publish(id: string): Promise<void> {
    const event = Event.fromPartial({ id });
    event.body = { $case: "chatDeleted", value: { messageId: id } };
    await new RedisBroker({ connection }).publish(channelOf("default", "conversation", id), {
      eventId: id,
      payload: Event.encode(event).finish(),
      idempotencyKey: id,
      outbox: { topic: "chat-events", key: id },
    });
  }

  it("is woken by the publish itself: it needs no tick", async () => {
    while (relay.leases < LEASE_COUNT) await relay.tick();
    await relay.tick();
    await relay.settled();
    for (let index = 0; index < 50; index++) await publish(`${index}`);
    await vi.waitFor(() => expect(new Set(arrived).size).toBe(50), WAIT);
    expect(arrived).toHaveLength(50);
  });

  it("goes on by itself when Redis was away and came back with nothing", async () => {
    relay.start();
    await vi.waitFor(() => expect(relay.leases).toBe(LEASE_COUNT), WAIT);
    await redis.kill();
    redis = await startRedis({ port: redis.port });
    await vi.waitFor(() => publish("1"), WAIT);
    await vi.waitFor(() => expect(arrived).toContain("1"), WAIT);
    await vi.waitFor(() => expect(relay.leases).toBe(LEASE_COUNT), WAIT);
  });
});
