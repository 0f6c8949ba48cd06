/** The Redis outbox: the contract, on a Redis of its own: leases are the same for all. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { outboxKeys } from "#fanout/redis/keys.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { RedisOutbox } from "./outbox-redis.js";
import { BOUND, describeOutbox } from "./outbox.contract.js";

let redis: RunningRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.kill());

describeOutbox("the outbox in Redis", async () => {
  const connections: RedisConnection[] = [];
  const connect = async (): Promise<RedisConnection> => {
    const connection = await RedisConnection.connect({ url: redis.url });
    connections.push(connection);
    return connection;
  };
  const broker = new RedisBroker({ connection: await connect(), outboxBound: BOUND });
  return {
    broker,
    outbox: async () => new RedisOutbox({ connection: await connect() }),
    close: async () => {
      await connections[0]?.run((client) => client.flushall());
      for (const connection of connections) connection.close();
    },
  };
});

it("reads an entry of another release as it can, so that one day it is put aside", async () => {
  const connection = await RedisConnection.connect({ url: redis.url });
  try {
    await connection.run((client) => client.xadd(outboxKeys(5).outbox, "*", "colour", "red"));
    const { entries } = await new RedisOutbox({ connection }).read(5, { maxEntries: 9, maxBytes: 9 });
    expect(entries).toMatchObject([{ topic: "", eventId: "", payload: Buffer.alloc(0) }]);
  } finally {
    await connection.run((client) => client.flushall());
    connection.close();
  }
});
