/** The session registry in Redis: the contract, lifetimes of its keys, and the sweep. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import { userKeys } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisSessionRegistry } from "./session-registry-redis.js";
import { describeSessionRegistry } from "./session-registry.contract.js";

describeSessionRegistry("the session registry in Redis", async () => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  return { registry: new RedisSessionRegistry({ connection }), close: async () => connection.close() };
});

describe("the session registry in Redis, by itself", () => {
  let connection: RedisConnection;
  let registry: RedisSessionRegistry;
  let record: SessionRecord;

  beforeEach(async () => {
    connection = await RedisConnection.connect({ url: inject("redisUrl") });
    registry = new RedisSessionRegistry({ connection });
    const app = `app-${randomUUID()}`;
    record = SessionRecord.fromPartial({
      app,
      userId: "u1",
      connectionId: "c1",
      edgeIncarnation: randomUUID(),
    });
    await registry.put(record);
  });
  afterEach(() => connection.close());

  it("keeps a user's sessions for a day", async () => {
    const ttlMs = await connection.run((client) => client.pttl(userKeys(record.app, "u1").sessions));
    expect(ttlMs).toBeGreaterThan(86_390_000);
    expect(ttlMs).toBeLessThanOrEqual(86_400_000);
  });

  it("removes a record from the store when its edge is long gone, and leaves a young one", async () => {
    const { sessions } = userKeys(record.app, "u1");
    const young = { ...record, connectionId: "c2" };
    await registry.put(young);
    const stored = await connection.run((client) => client.hgetBuffer(sessions, "c1"));
    if (!stored) throw new Error("the record was not stored");
    // As if it had been put long ago: bytes 8 to 15 are the time of the put.
    stored.fill(0, 8, 16);
    await connection.run((client) => client.hset(sessions, "c1", stored));
    expect(await registry.ofUser(record.app, "u1")).toEqual([]);
    await vi.waitFor(async () => {
      expect(await connection.run((client) => client.hkeys(sessions))).toEqual(["c2"]);
    });
  });
});
