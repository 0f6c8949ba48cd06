/** Redis Cluster of three masters: what one node alone cannot show. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import type { BrokerMessage, DurableEvent } from "#fanout/channel/broker.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { RedisLocations } from "#fanout/location/locations-redis.js";
import { RedisCluster } from "#test/support/redis-cluster.js";
import { channelKeys, SCHEMA_KEY } from "./keys.js";
import { PartitionSentinels } from "./partition-sentinels.js";
import { PARTITIONS, slotOf } from "./partitions.js";
import { RedisConnection } from "./redis-connection.js";
import { loadScript } from "./scripts.js";

const WAIT = { timeout: 15_000, interval: 20 };

let cluster: RedisCluster;

beforeAll(async () => {
  cluster = await RedisCluster.start({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
});
afterAll(() => cluster.stop());

function connect(): Promise<RedisConnection> {
  return RedisConnection.connect({ clusterNodes: cluster.addresses });
}

describe("the masters of a Redis Cluster", () => {
  let connection: RedisConnection;
  let broker: RedisBroker;
  let channels: readonly Channel[];

  beforeEach(async () => {
    connection = await connect();
    broker = new RedisBroker({ connection });
    const app = `app-${randomUUID()}`;
    channels = Array.from({ length: 300 }, (_, index) => channelOf(app, "order", `o${index}`));
  });
  afterEach(() => connection.close());

  function event(text: string): DurableEvent {
    return { eventId: text, payload: Buffer.from(text), idempotencyKey: text };
  }

  function masterOf(channel: Channel): number {
    return cluster.masterOf(slotOf(channelKeys(channel).partition.tag));
  }

  async function followAll(): Promise<Map<Channel, BrokerMessage[]>> {
    const heard = new Map(channels.map((channel): [Channel, BrokerMessage[]] => [channel, []]));
    await Promise.all(
      [...heard].map(([channel, messages]) => broker.follow(channel, (message) => messages.push(message))),
    );
    return heard;
  }

  /** Everything published to every channel comes to its follower. */
  async function expectAllToHear(heard: ReadonlyMap<Channel, BrokerMessage[]>, text: string): Promise<void> {
    const other = new RedisBroker({ connection });
    await Promise.all(channels.map((channel) => vi.waitFor(() => other.publish(channel, event(text)), WAIT)));
    for (const messages of heard.values()) {
      await vi.waitFor(() => {
        const texts = messages.map((message) =>
          message.type === "durable" ? Buffer.from(message.payload).toString() : "",
        );
        expect(texts.filter((one) => one === text)).toHaveLength(1);
      }, WAIT);
    }
  }

  it("share the channels, and all of them are followed, published to and read in one turn", async () => {
    expect(new Set(channels.map(masterOf))).toEqual(new Set([0, 1, 2]));
    const heard = await followAll();
    await expectAllToHear(heard, "one");
    const positions = await broker.positions(channels);
    expect(positions.map((position) => position?.offset)).toEqual(channels.map(() => 1));
    const histories = await Promise.all(
      channels.map((channel) => broker.history(channel, { afterOffset: 0, limit: 10 })),
    );
    expect(histories.map(({ length }) => length)).toEqual(channels.map(() => 1));
  });

  it("get gathered values by partition: each is stored, and comes to its follower", async () => {
    const heard = await followAll();
    const other = new RedisBroker({ connection });
    const value = { key: "location:p1", version: 7, payload: Buffer.from("here") };
    await Promise.all(channels.map((channel) => other.update(channel, value)));
    const states = await Promise.all(channels.map((channel) => broker.state(channel)));
    expect(states.map(({ latest }) => latest.map(({ version }) => version))).toEqual(channels.map(() => [7]));
    for (const messages of heard.values()) {
      await vi.waitFor(() => expect(messages.map(({ type }) => type)).toEqual(["latest"]), WAIT);
    }
    await expect(
      connection.script(loadScript(import.meta.url, "../channel/lua/read-state.lua"), {
        partition: undefined,
        keys: [],
        args: [],
      }),
    ).rejects.toThrow("in Cluster");
  });

  it("share the locations of workers, who are found nearby over all of them", async () => {
    const app = `app-${randomUUID()}`;
    const locations = new RedisLocations({ connection });
    const placed = Array.from({ length: 200 }, (_, index) => {
      const point = { latitude: 50 + index / 1_000, longitude: 8 };
      const payload = Location.encode(Location.fromPartial(point)).finish();
      return { app, workerId: `p${index}`, version: Date.now() * 1000, payload, point };
    });
    await locations.put(placed);
    const search = { app, center: { latitude: 50.1, longitude: 8 }, radiusMeters: 11_200, limit: 1_000 };
    expect(await locations.nearby(search)).toHaveLength(200);
    const ids = placed.map(({ workerId }) => workerId);
    const known = await locations.getMany(app, ids);
    expect(known.map((location) => location?.workerId)).toEqual(ids);
  });

  it("learn a script that one of them has forgotten", async () => {
    await Promise.all(channels.map((channel) => broker.publish(channel, event("one"))));
    await connection.run((client) =>
      "nodes" in client
        ? Promise.all(client.nodes("master").map((node) => node.script("FLUSH")))
        : Promise.reject(new Error("a cluster was expected")),
    );
    const answers = await Promise.all(channels.map((channel) => broker.publish(channel, event("two"))));
    expect(answers.map(({ outcome }) => outcome)).toEqual(channels.map(() => "published"));
  });

  it("are signed once with the key schema, wherever its key lies", async () => {
    expect(await connection.run((client) => client.get(SCHEMA_KEY))).toMatch(/^version=\d+ partitions=\d+$/);
  });

  it("serve what the others hold while one is away, which then comes back with its data", async () => {
    const heard = await followAll();
    await expectAllToHear(heard, "before");
    const sentinels = await PartitionSentinels.start({ connection, rebuildWindowMs: 60_000 });
    await cluster.kill(1);
    const [away, there] = [1, 0].map((master) => channels.filter((channel) => masterOf(channel) === master));
    try {
      const [lost] = away ?? [];
      if (lost === undefined) throw new Error("each master has some of 300 channels");
      // What is asked of many is answered for those whose node is there.
      const positions = await broker.positions(channels);
      const answered = channels.filter((_, index) => positions[index] !== undefined);
      expect(answered).toEqual(channels.filter((channel) => masterOf(channel) !== 1));
      const unseen = await sentinels.check();
      const partitionsAway = PARTITIONS.filter(({ tag }) => cluster.masterOf(slotOf(tag)) === 1);
      expect(unseen).toEqual(new Set(partitionsAway.map(({ index }) => index)));
      await expect(broker.publish(lost, event("away"))).rejects.toMatchObject({ kind: "unavailable" });
      const answers = (there ?? []).map((channel) =>
        vi.waitFor(() => broker.publish(channel, event("there")), { timeout: 1_500, interval: 20 }),
      );
      expect(new Set((await Promise.all(answers)).map(({ outcome }) => outcome))).toEqual(
        new Set(["published"]),
      );
    } finally {
      sentinels.stop();
      await cluster.restart(1);
    }
    await expectAllToHear(heard, "after");
    for (const channel of away ?? []) {
      const types = heard.get(channel)?.map(({ type }) => type);
      expect(types).toContain("resubscribed");
      const history = await broker.history(channel, { afterOffset: 0, limit: 10 });
      expect(history.map(({ payload }) => Buffer.from(payload).toString())).toEqual(
        expect.arrayContaining(["before", "after"]),
      );
    }
    await vi.waitFor(() => expect(connection.status().isUp).toBe(true), WAIT);
  });

  it("tell the followers of a slot that moves to another of them, and messages come from there", async () => {
    const heard = await followAll();
    await expectAllToHear(heard, "before");
    const [moved] = channels.filter((channel) => masterOf(channel) === 2);
    if (moved === undefined) throw new Error("each master has some of 300 channels");
    await cluster.moveSlot(slotOf(channelKeys(moved).partition.tag), 0);
    await vi.waitFor(() => expect(heard.get(moved)?.map(({ type }) => type)).toContain("resubscribed"), WAIT);
    await expectAllToHear(heard, "moved");
    expect((await broker.state(moved)).position.offset).toBe(2);
  });
});
