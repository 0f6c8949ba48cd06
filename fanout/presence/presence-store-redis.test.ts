/** Presence in Redis: the contract, and what is left in the store. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { channelOf } from "#fanout/channel/channel.js";
import { memberKeys, userPresenceKeys } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { describeChannelMembers } from "./channel-members.contract.js";
import { RedisPresenceStore } from "./presence-store-redis.js";
import { describePresenceStore, type MakePresenceStore } from "./presence-store.contract.js";

const make: MakePresenceStore = async (options) => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  return {
    store: new RedisPresenceStore({ connection, ...options }),
    close: async () => connection.close(),
  };
};

describePresenceStore("presence in Redis", make);
describeChannelMembers("presence in Redis", make);

describe("presence in Redis, by itself", () => {
  let connection: RedisConnection;
  let store: RedisPresenceStore;
  const app = `app-${randomUUID()}`;

  beforeEach(async () => {
    connection = await RedisConnection.connect({ url: inject("redisUrl") });
    store = new RedisPresenceStore({ connection, lastSeenTtlMs: 100_000 });
  });
  afterEach(() => connection.close());

  const placed = { app, userId: "u1", connectionId: "c1", generation: 1, place: "p1" };

  it("keeps when a user was last seen for the configured time, and nothing of their connections", async () => {
    const { presence, connections } = userPresenceKeys(app, "u1");
    await store.connect(placed);
    await store.disconnect(placed, 0);
    const ttlMs = await connection.run((client) => client.pttl(presence));
    expect(ttlMs).toBeGreaterThan(90_000);
    expect(ttlMs).toBeLessThanOrEqual(100_000);
    expect(await connection.run((client) => client.exists(connections))).toBe(0);
  });

  it("leaves nothing of a channel whose last member has left, nor of a place that holds nobody", async () => {
    const channel = channelOf(app, "order", "42");
    const { memberships, members, placePrefix, due } = memberKeys(channel);
    await store.join({ ...placed, channel, sessionId: "s1" });
    await store.leave({ ...placed, channel }, 0);
    expect(await connection.run((client) => client.exists(memberships, members, `${placePrefix}p1`))).toBe(0);
    expect(await connection.run((client) => client.zrange(due, 0, -1))).not.toContain(
      expect.stringContaining(app),
    );
  });
});
