/** Seen marks in Redis: the contract, and their lifetime. */
import { randomUUID } from "node:crypto";
import { expect, inject, it } from "vitest";
import { channelOf } from "#fanout/channel/channel.js";
import { seenKey } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { SEEN_TTL_MS } from "./seen-marks.js";
import { RedisSeenMarks } from "./seen-marks-redis.js";
import { describeSeenMarks } from "./seen-marks.contract.js";

describeSeenMarks("seen marks in Redis", async () => {
  const [connection, another] = await Promise.all([
    RedisConnection.connect({ url: inject("redisUrl") }),
    RedisConnection.connect({ url: inject("redisUrl") }),
  ]);
  return {
    marks: new RedisSeenMarks({ connection }),
    others: new RedisSeenMarks({ connection: another }),
    close: async () => {
      connection.close();
      another.close();
    },
  };
});

it("keeps marks for so long after the last one", async () => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  try {
    const owner = { app: `app-${randomUUID()}`, userId: "u1" };
    const marks = new RedisSeenMarks({ connection });
    await marks.raise(owner, channelOf(owner.app, "user", "u1"), { epoch: "e", offset: 1, upTo: true });
    const ttlMs = await connection.run((client) => client.pttl(seenKey(owner.app, owner.userId).key));
    expect(ttlMs).toBeGreaterThan(SEEN_TTL_MS - 60_000);
    expect(ttlMs).toBeLessThanOrEqual(SEEN_TTL_MS);
  } finally {
    connection.close();
  }
});
