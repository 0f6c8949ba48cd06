/** The key of resume tokens in Redis, which all gateways share. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RESUME_KEY } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { RedisResumeKeys } from "./resume-keys-redis.js";

let redis: RunningRedis;
const closers: (() => void)[] = [];

beforeEach(async () => {
  redis = await startRedis();
});
afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await redis.stop();
});

async function gateway(compareMs = 60_000) {
  const connection = await RedisConnection.connect({ url: redis.url });
  const keys = await RedisResumeKeys.start(connection, { compareMs });
  closers.push(() => {
    keys.stop();
    connection.close();
  });
  return { connection, keys };
}

describe("the resume key", () => {
  it("is made once, however many begin at the same time", async () => {
    const gateways = await Promise.all(Array.from({ length: 5 }, () => gateway()));
    const signing = gateways.map(({ keys }) => keys.signing.toString("hex"));
    expect(new Set(signing).size).toBe(1);
    expect(gateways[0]?.keys.signing).toHaveLength(32);
    expect(gateways[0]?.keys.accepted).toHaveLength(1);
  });

  it("is the same again after the store was emptied", async () => {
    const { connection, keys } = await gateway(20);
    const before = keys.signing;
    await connection.run((client) => client.flushall());
    await vi.waitFor(async () =>
      expect(await connection.run((client) => client.get(RESUME_KEY))).toBe(before.toString("base64url")),
    );
    expect((await gateway()).keys.signing).toEqual(before);
  });

  it("is another where the store has another, and tokens of the one before stay good", async () => {
    const { connection, keys } = await gateway();
    const seen = [keys.signing];
    for (let change = 0; change < 3; change += 1) {
      const other = randomBytes(32);
      await connection.run((client) => client.set(RESUME_KEY, other.toString("base64url")));
      await keys.compare();
      expect(keys.accepted).toEqual([other, seen.at(-1)]);
      seen.push(other);
    }
  });
});
