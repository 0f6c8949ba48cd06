/** Locations in Redis: the contract, and their lifetime. */
import { randomUUID } from "node:crypto";
import { expect, inject, it } from "vitest";
import { locationKey } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisLocations } from "./locations-redis.js";
import { describeLocations } from "./locations.contract.js";
import { describeNearby } from "./nearby.contract.js";

const harness = async () => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  return { locations: new RedisLocations({ connection }), close: async () => connection.close() };
};

describeLocations("locations in Redis", harness);
describeNearby("workers nearby, in Redis", harness);

it("gives a location its lifetime with each newer version", async () => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  try {
    const app = `app-${randomUUID()}`;
    const location = { app, workerId: "p1", version: 1, payload: Buffer.from("x") };
    await new RedisLocations({ connection }).put([location]);
    const { key } = locationKey(app, "p1");
    expect(await connection.run((client) => client.pttl(key))).toBeGreaterThan(3_590_000);
    await new RedisLocations({ connection, ttlMs: 5_000 }).put([{ ...location, version: 2 }]);
    const ttlMs = await connection.run((client) => client.pttl(key));
    expect(ttlMs).toBeGreaterThan(0);
    expect(ttlMs).toBeLessThanOrEqual(5_000);
  } finally {
    connection.close();
  }
});
