/**
 * What is kept in Redis, on a Cluster of three masters: a script, a pipeline or a subscription whose keys lie
 * in two slots is refused, and keys of two partitions are mostly at two masters.
 */
import { Cluster } from "ioredis";
import { afterAll, beforeAll } from "vitest";
import { PartitionSentinels } from "#fanout/redis/partition-sentinels.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisDirectory } from "#fanout/directory/directory-redis.js";
import { describeDirectory } from "#fanout/directory/directory.contract.js";
import { RedisLocations } from "#fanout/location/locations-redis.js";
import { describeLocations } from "#fanout/location/locations.contract.js";
import { RedisOutbox } from "#fanout/outbox/outbox-redis.js";
import { BOUND, describeOutbox } from "#fanout/outbox/outbox.contract.js";
import { describeChannelMembers } from "#fanout/presence/channel-members.contract.js";
import { RedisPresenceStore } from "#fanout/presence/presence-store-redis.js";
import { describePresenceStore, type MakePresenceStore } from "#fanout/presence/presence-store.contract.js";
import { RedisSessionRegistry } from "#fanout/session/session-registry-redis.js";
import { describeSessionRegistry } from "#fanout/session/session-registry.contract.js";
import { RedisCluster } from "#test/support/redis-cluster.js";
import { RedisBroker } from "./broker-redis.js";
import { describeBroker } from "./broker.contract.js";

let cluster: RedisCluster;

beforeAll(async () => {
  cluster = await RedisCluster.start();
});
afterAll(() => cluster.stop());

function connect(): Promise<RedisConnection> {
  return RedisConnection.connect({ clusterNodes: cluster.addresses });
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
      await publishing.run(async (client) => {
        if (client instanceof Cluster) await Promise.all(client.nodes("master").map((one) => one.flushall()));
      });
      for (const connection of [publishing, ...others]) connection.close();
    },
  };
});

const makePresence: MakePresenceStore = async (options) => {
  const connection = await connect();
  return {
    store: new RedisPresenceStore({ connection, ...options }),
    close: async () => connection.close(),
  };
};
describePresenceStore("presence in Redis Cluster", makePresence);
describeChannelMembers("presence in Redis Cluster", makePresence);
