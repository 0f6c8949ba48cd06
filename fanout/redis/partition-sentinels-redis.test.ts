/** How a Redis that lost its data is noticed, by those who knew it before and those who come after. */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { channelOf, userChannel, type Channel } from "#fanout/channel/channel.js";
import { PartUnknownError } from "#fanout/directory/directory.js";
import { RedisDirectory } from "#fanout/directory/directory-redis.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { channelKeys, SCHEMA_KEY, sentinelKey } from "./keys.js";
import { PARTITION_COUNT, PARTITIONS, partitionAt } from "./partitions.js";
import { PartitionSentinels } from "./partition-sentinels.js";
import { RedisConnection } from "./redis-connection.js";

const WAIT = { timeout: 10_000, interval: 10 };
const HOUR_MS = 3_600_000;
const ALL = PARTITIONS.map(({ index }) => index);

/** A process with its own connection, and what it was told. */
interface Process {
  readonly connection: RedisConnection;
  readonly sentinels: PartitionSentinels;
  readonly directory: RedisDirectory;
  readonly lost: number[][];
  readonly rebuilt: number[][];
}

describe("the sentinels of partitions", () => {
  let redis: RunningRedis;
  let started: Process[];
  let order: Channel;

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.kill());
  beforeEach(async () => {
    started = [];
    order = channelOf(`app-${randomUUID()}`, "order", "42");
    const admin = await RedisConnection.connect({ url: redis.url });
    await admin.run((client) => client.flushall());
    admin.close();
  });
  afterEach(() => {
    for (const { sentinels, connection } of started) {
      sentinels.stop();
      connection.close();
    }
  });

  async function start(rebuildWindowMs = HOUR_MS): Promise<Process> {
    const connection = await RedisConnection.connect({ url: redis.url });
    const sentinels = await PartitionSentinels.start({ connection, rebuildWindowMs });
    const process: Process = {
      connection,
      sentinels,
      directory: new RedisDirectory({ connection, sentinels }),
      lost: [],
      rebuilt: [],
    };
    const sorted = (set: ReadonlySet<number>): number[] => [...set].sort((left, right) => left - right);
    sentinels.listen({
      lost: (partitions) => process.lost.push(sorted(partitions)),
      rebuilt: (partitions) => process.rebuilt.push(sorted(partitions)),
    });
    started.push(process);
    return process;
  }

  const flush = ({ connection }: Process): Promise<unknown> => connection.run((client) => client.flushall());
  const grant = ({ directory }: Process, userId = "u1"): Promise<void> =>
    directory.grant({ channel: order, userId, relation: "assigned", expiresAtMs: Number.MAX_SAFE_INTEGER });

  it("sign a Redis that was empty from the start as complete, for everybody", async () => {
    const fresh = await start();
    const second = await start();
    expect(await fresh.directory.participation(order, "u1")).toBeUndefined();
    expect(await second.directory.participation(order, "u1")).toBeUndefined();
    await second.sentinels.check();
    expect(second.lost).toEqual([]);
  });

  it("tell once of a loss, to each who knew, and nothing while there is none", async () => {
    const [one, two] = [await start(), await start()];
    await one.sentinels.check();
    expect(one.lost).toEqual([]);
    await flush(one);
    await Promise.all([one.sentinels.check(), two.sentinels.check(), one.sentinels.check()]);
    await one.sentinels.check();
    expect([one.lost, two.lost]).toEqual([[ALL], [ALL]]);
  });

  it("tell of the partitions that lost their data, and leave the others alone", async () => {
    const one = await start();
    const other = (channelKeys(order).partition.index + 1) % PARTITION_COUNT;
    await one.connection.run((client) => client.del(sentinelKey(partitionAt(other))));
    await one.sentinels.check();
    expect(one.lost).toEqual([[other]]);
    expect((await one.directory.recordOf(order)).isComplete).toBe(true);
  });

  it("have the schema signed again", async () => {
    const one = await start();
    await flush(one);
    await one.sentinels.check();
    expect(await one.connection.run((client) => client.get(SCHEMA_KEY))).toContain("version=");
  });

  it("are looked at as soon as Redis is back", async () => {
    const one = await start();
    await redis.kill();
    await vi.waitFor(() => expect(one.connection.status().isUp).toBe(false), WAIT);
    redis = await startRedis({ port: redis.port });
    await vi.waitFor(() => expect(one.lost).toHaveLength(1), WAIT);
  });

  it("tell of no loss where Redis came back with its data", async () => {
    const args = ["--appendonly", "yes", "--appendfsync", "always"];
    await redis.kill();
    redis = await startRedis({ port: redis.port, args });
    const one = await start();
    await redis.kill();
    redis = await startRedis({ port: redis.port, folder: redis.folder, args });
    await vi.waitFor(() => one.sentinels.check(), WAIT);
    expect(one.lost).toEqual([]);
    await redis.kill();
    redis = await startRedis({ port: redis.port });
  });

  describe("while the directory is rebuilt", () => {
    it("who is not found is not denied, who is found counts, and who was ended is denied", async () => {
      const one = await start();
      await grant(one);
      await flush(one);
      await one.sentinels.check();
      await expect(one.directory.participation(order, "u1")).rejects.toMatchObject({
        kind: "unavailable",
        retryAfterMs: expect.any(Number) as unknown,
      });
      expect(await one.directory.recordOf(order)).toMatchObject({ parts: [], isComplete: false });
      await grant(one);
      expect(await one.directory.participation(order, "u1")).toMatchObject({ relation: "assigned" });
      await one.directory.end(order, "u2");
      expect(await one.directory.participation(order, "u2")).toBeUndefined();
      expect((await one.directory.recordOf(order)).ended).toEqual(new Set(["u2"]));
    });

    it("is noticed by who asks the directory, before any sweep, and then looked at", async () => {
      const one = await start();
      await flush(one);
      await expect(one.directory.participation(order, "u1")).rejects.toBeInstanceOf(PartUnknownError);
      await vi.waitFor(() => expect(one.lost).toEqual([ALL]), WAIT);
    });

    it("an end stays known until it is over", async () => {
      const one = await start(2 * HOUR_MS);
      await flush(one);
      await one.directory.end(order, "u1");
      const record = await one.connection.run((client) => client.keys(`*${order.app}*participants`));
      const [ttlMs] = await Promise.all(
        record.map((key) => one.connection.run((client) => client.pttl(key))),
      );
      expect(ttlMs).toBeGreaterThan(2 * HOUR_MS);
    });

    it("one who came after the loss and signed for an empty Redis hears of it", async () => {
      const one = await start();
      await flush(one);
      const late = await start();
      expect(await late.directory.participation(order, "u1")).toBeUndefined();
      // Who knew the partition before takes no denial from another incarnation of it.
      await expect(one.directory.participation(order, "u1")).rejects.toMatchObject({ kind: "unavailable" });
      await one.sentinels.check();
      expect(one.lost).toEqual([ALL]);
      await expect(late.directory.participation(order, "u1")).rejects.toMatchObject({ kind: "unavailable" });
      await late.sentinels.check();
      expect(late.lost).toEqual([]);
    });

    it("ends with the window, which is told once, and then absence is a denial", async () => {
      const one = await start(300);
      const two = await start(300);
      await flush(one);
      await one.sentinels.check();
      await two.sentinels.check();
      expect(one.rebuilt).toEqual([]);
      await vi.waitFor(async () => {
        await Promise.all([one.sentinels.check(), two.sentinels.check()]);
        expect([one.rebuilt, two.rebuilt].map((told) => told.flat())).toEqual([ALL, ALL]);
      }, WAIT);
      expect(await one.directory.participation(order, "u1")).toBeUndefined();
      await one.sentinels.check();
      expect(one.rebuilt.flat()).toHaveLength(PARTITION_COUNT);
      expect([one.lost, two.lost]).toEqual([[ALL], [ALL]]);
    });

    it("the versions of those who take part change, also for what was known before", async () => {
      const one = await start();
      const channels = [order, userChannel(order.app, "u1")];
      await grant(one);
      const before = await one.directory.versions(channels);
      await flush(one);
      await one.sentinels.check();
      await grant(one);
      const after = await one.directory.versions(channels);
      for (const index of [0, 1]) expect(after[index]).not.toBe(before[index]);
    });
  });
});
