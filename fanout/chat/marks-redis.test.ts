/** Marks in Redis: the contract, their lifetime, and their bound. */
import { randomUUID } from "node:crypto";
import { expect, inject, it } from "vitest";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import { channelOf } from "#fanout/channel/channel.js";
import { channelKeys } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisChatMarks } from "./marks-redis.js";
import { MAX_MARKED_USERS } from "./marks.js";
import { describeChatMarks } from "./marks.contract.js";

describeChatMarks("marks in Redis", async () => {
  const [connection, another] = await Promise.all([
    RedisConnection.connect({ url: inject("redisUrl") }),
    RedisConnection.connect({ url: inject("redisUrl") }),
  ]);
  return {
    marks: new RedisChatMarks({ connection }),
    others: new RedisChatMarks({ connection: another }),
    broker: new RedisBroker({ connection }),
    close: async () => {
      connection.close();
      another.close();
    },
  };
});

it("keeps marks for as long as a part lasts, and for so many users", async () => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  try {
    const order = channelOf(`app-${randomUUID()}`, "order", "42");
    const { chat } = channelKeys(order);
    await connection.run((client) => client.hset(chat, "count", 3, "marked", MAX_MARKED_USERS - 1));
    const marks = new RedisChatMarks({ connection });
    const mark = { kind: "delivered", number: 3, upTo: true } as const;
    await marks.raise(order, { userId: "u1", ...mark });
    const ttlMs = await connection.run((client) => client.pttl(chat));
    expect(ttlMs).toBeGreaterThan(6 * 86_400_000);
    await expect(marks.raise(order, { userId: "u2", ...mark })).rejects.toMatchObject({
      kind: "rate_limited",
    });
    expect(await marks.standings([order], "u2")).toMatchObject([{ deliveredNumber: 0 }]);
    await marks.raise(order, { userId: "u1", ...mark, kind: "read" });
  } finally {
    connection.close();
  }
});
