/** The directory in Redis: the contract, lifetimes of its keys, and what a late write does. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { channelKeys, userKeys } from "#fanout/redis/keys.js";
import { PartitionSentinels } from "#fanout/redis/partition-sentinels.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisDirectory } from "./directory-redis.js";
import { describeDirectory } from "./directory.contract.js";

describeDirectory("the directory in Redis", async () => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  const sentinels = await PartitionSentinels.start({ connection, rebuildWindowMs: 60_000 });
  return { directory: new RedisDirectory({ connection, sentinels }), close: async () => connection.close() };
});

describe("the directory in Redis, by itself", () => {
  let connection: RedisConnection;
  let directory: RedisDirectory;
  let order: Channel;

  beforeEach(async () => {
    connection = await RedisConnection.connect({ url: inject("redisUrl") });
    const sentinels = await PartitionSentinels.start({ connection, rebuildWindowMs: 60_000 });
    directory = new RedisDirectory({ connection, sentinels });
    order = channelOf(`app-${randomUUID()}`, "order", "42");
  });
  afterEach(() => connection.close());

  it("lets a record live as long as the last of its parts", async () => {
    const { participants } = channelKeys(order);
    const { participations } = userKeys(order.app, "u1");
    const grant = async (userId: string, ms: number): Promise<void> =>
      directory.grant({ channel: order, userId, relation: "owner", expiresAtMs: Date.now() + ms });
    await grant("u1", 600_000);
    await grant("u2", 120_000);
    for (const key of [participants, participations]) {
      const ttlMs = await connection.run((client) => client.pttl(key));
      expect(ttlMs).toBeGreaterThan(590_000);
      expect(ttlMs).toBeLessThanOrEqual(601_000);
    }
  });

  it("sweeps what has expired when it is read", async () => {
    await directory.grant({ channel: order, userId: "u1", relation: "owner", expiresAtMs: 1 });
    const { participants } = channelKeys(order);
    expect(await connection.run((client) => client.hlen(participants))).toBe(1);
    expect(await directory.participants(order)).toEqual([]);
    expect(await connection.run((client) => client.hlen(participants))).toBe(0);
  });
});
