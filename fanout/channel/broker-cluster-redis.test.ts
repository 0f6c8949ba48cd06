/**
 * What is kept in Redis, on a Cluster of three masters: a script, a pipeline or a subscription whose keys lie
 * in two slots is refused, and keys of two partitions are mostly at two masters.
 */
import { Cluster } from "ioredis";
import { afterAll, beforeAll } from "vitest";
import { PartitionSentinels } from "#fanout/redis/partition-sentinels.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisDirectory } from "#fanout/directory/directory-redis.js";
import { describeChatMarks } from "#fanout/chat/marks.contract.js";
import { RedisChatMarks } from "#fanout/chat/marks-redis.js";
import { describeDirectory } from "#fanout/directory/directory.contract.js";
import { RedisLimits } from "#fanout/limits/limits-redis.js";
import { describeLimits } from "#fanout/limits/limits.contract.js";
import { RedisLocations } from "#fanout/location/locations-redis.js";
import { describeLocations } from "#fanout/location/locations.contract.js";
import { describeNumbersAndAsked } from "#fanout/offer/offer-numbers.contract.js";
import {
  describeOffers,
  MAX_OPEN,
  OUTBOX_BOUND,
  RETENTION_MS,
  type OffersHarness,
} from "#fanout/offer/offers.contract.js";
import { RedisOffers } from "#fanout/offer/offers-redis.js";
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

/** For tests of what is shared by all of them. */
function empty(connection: RedisConnection): Promise<void> {
  return connection.run(async (client) => {
    if (client instanceof Cluster) await Promise.all(client.nodes("master").map((one) => one.flushall()));
  });
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
      await empty(publishing);
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

const makeOffers = async (): Promise<OffersHarness> => {
  const [here, elsewhere] = await Promise.all([connect(), connect()]);
  const bounds = { retentionMs: RETENTION_MS, outboxBound: OUTBOX_BOUND, maxOpen: MAX_OPEN };
  return {
    offers: new RedisOffers({ connection: here, ...bounds }),
    elsewhere: new RedisOffers({ connection: elsewhere, ...bounds }),
    outbox: new RedisOutbox({ connection: here }),
    close: async () => {
      // What is due is found for all offers, and their number is bounded.
      await empty(here);
      for (const connection of [here, elsewhere]) connection.close();
    },
  };
};
describeOffers("offers in Redis Cluster", makeOffers);
describeNumbersAndAsked("fencing numbers and who was asked, in Redis Cluster", makeOffers);

describeChatMarks("marks in Redis Cluster", async () => {
  const [here, elsewhere] = await Promise.all([connect(), connect()]);
  return {
    marks: new RedisChatMarks({ connection: here }),
    others: new RedisChatMarks({ connection: elsewhere }),
    broker: new RedisBroker({ connection: here }),
    close: async () => {
      for (const connection of [here, elsewhere]) connection.close();
    },
  };
});

describeLimits("limits in Redis Cluster", async () => {
  const [here, elsewhere] = await Promise.all([connect(), connect()]);
  return {
    limits: [new RedisLimits({ connection: here }), new RedisLimits({ connection: elsewhere })],
    close: async () => {
      for (const connection of [here, elsewhere]) connection.close();
    },
  };
});
