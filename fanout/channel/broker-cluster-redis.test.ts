/**
 * The Redis broker on Redis Cluster. One node with all slots is enough: it refuses a script, a pipeline or a
 * subscription whose keys lie in two slots as a larger cluster would.
 */
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { PartitionSentinels } from "#fanout/redis/partition-sentinels.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisDirectory } from "#fanout/directory/directory-redis.js";
import { describeDirectory } from "#fanout/directory/directory.contract.js";
import { RedisLocations } from "#fanout/location/locations-redis.js";
import { describeLocations } from "#fanout/location/locations.contract.js";
import { RedisOutbox } from "#fanout/outbox/outbox-redis.js";
import { BOUND, describeOutbox } from "#fanout/outbox/outbox.contract.js";
import { RedisSessionRegistry } from "#fanout/session/session-registry-redis.js";
import { describeSessionRegistry } from "#fanout/session/session-registry.contract.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { RedisBroker } from "./broker-redis.js";
import { describeBroker } from "./broker.contract.js";
import { channelOf } from "./channel.js";

// A node that met no other does not know its own address.
const CLUSTER = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"];
let node: RunningRedis;

beforeAll(async () => {
  node = await startRedis({ args: CLUSTER });
  const admin = new Redis(node.url);
  await admin.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  await vi.waitFor(async () => expect(await admin.cluster("INFO")).toContain("cluster_state:ok"), {
    timeout: 10_000,
    interval: 50,
  });
  admin.disconnect();
});
afterAll(() => node.kill());

function connect(): Promise<RedisConnection> {
  return RedisConnection.connect({ clusterNodes: [{ host: "127.0.0.1", port: node.port }] });
}

describeBroker("the broker in Redis Cluster", async () => {
  const connections: RedisConnection[] = [];
  return {
    broker: async () => {
      const connection = await connect();
      connections.push(connection);
      return new RedisBroker({ connection });
    },
    close: async () => {
      for (const connection of connections) connection.close();
    },
  };
});

describeDirectory("the directory in Redis Cluster", async () => {
  const connection = await connect();
  const sentinels = await PartitionSentinels.start({ connection, rebuildWindowMs: 60_000 });
  return { directory: new RedisDirectory({ connection, sentinels }), close: async () => connection.close() };
});

describeLocations("locations in Redis Cluster", async () => {
  const connection = await connect();
  return { locations: new RedisLocations({ connection }), close: async () => connection.close() };
});

describeSessionRegistry("the session registry in Redis Cluster", async () => {
  const connection = await connect();
  return { registry: new RedisSessionRegistry({ connection }), close: async () => connection.close() };
});

describeOutbox("the outbox in Redis Cluster", async () => {
  const publishing = await connect();
  const others: RedisConnection[] = [];
  return {
    broker: new RedisBroker({ connection: publishing, outboxBound: BOUND }),
    outbox: async () => {
      const connection = await connect();
      others.push(connection);
      return new RedisOutbox({ connection });
    },
    close: async () => {
      // Leases are the same for every test.
      await publishing.run((client) => client.flushall());
      for (const connection of [publishing, ...others]) connection.close();
    },
  };
});

it("tells followers in Redis Cluster when their shard was away", async () => {
  const connection = await connect();
  try {
    const broker = new RedisBroker({ connection });
    const order = channelOf("app", "order", "42");
    const heard: string[] = [];
    await broker.follow(order, ({ type }) => heard.push(type));
    await node.kill();
    const publish = (): Promise<unknown> =>
      broker.publish(order, { eventId: "e", payload: Buffer.from("e"), idempotencyKey: `${heard.length}` });
    await expect(publish()).rejects.toMatchObject({ kind: "unavailable" });
    node = await startRedis({ port: node.port, folder: node.folder, args: CLUSTER });
    await vi.waitFor(publish, { timeout: 15_000, interval: 100 });
    await vi.waitFor(() => expect(heard).toContain("resubscribed"), { timeout: 15_000, interval: 50 });
    await vi.waitFor(
      async () => {
        await broker.tell(order, { signal: Buffer.from("x") });
        expect(heard).toContain("signal");
      },
      { timeout: 15_000, interval: 100 },
    );
  } finally {
    connection.close();
  }
});
