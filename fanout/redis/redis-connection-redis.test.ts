/** Connecting to Redis: what is refused at the start, and that scripts stay in their partition. */
import { Redis } from "ioredis";
import { afterEach, describe, expect, inject, it } from "vitest";
import { freePort } from "#test/support/free-port.js";
import { startRedis } from "#test/support/redis.js";
import { channelKeys, SCHEMA_KEY } from "./keys.js";
import { channelOf } from "#fanout/channel/channel.js";
import { PARTITIONS, slotOf } from "./partitions.js";
import { RedisConnection } from "./redis-connection.js";

const connections: RedisConnection[] = [];

async function connect(url: string): Promise<RedisConnection> {
  const connection = await RedisConnection.connect({ url });
  connections.push(connection);
  return connection;
}

afterEach(() => {
  for (const connection of connections.splice(0)) connection.close();
});

describe("a connection to Redis", () => {
  it("counts what it sends, by the name of the script or command", async () => {
    const connection = await connect(inject("redisUrl"));
    const before = connection.operations();
    await connection.timeUs();
    await connection.timeUs();
    await connection.run((client) => client.get(SCHEMA_KEY), "read-schema");
    const counted = (operation: string) =>
      (connection.operations().get(operation) ?? 0) - (before.get(operation) ?? 0);
    expect([counted("time"), counted("read-schema"), counted("ssubscribe")]).toEqual([2, 1, 0]);
  });

  it("that cannot be made is an error that names REDIS_URL and the address, not the password", async () => {
    const port = await freePort();
    const failure = await connect(`redis://:secret@127.0.0.1:${port}`).catch((error: unknown) =>
      String(error),
    );
    expect(failure).toContain("REDIS_URL");
    expect(failure).toContain(`127.0.0.1:${port}`);
    expect(failure).toContain("ECONNREFUSED");
    expect(failure).not.toContain("secret");
  });

  it("with a wrong password is refused, and the error does not say the password", async () => {
    const redis = await startRedis();
    try {
      const open = await connect(redis.url);
      await open.run((client) => client.config("SET", "requirepass", "right"));
      const failure = await connect(`redis://:wrong@127.0.0.1:${redis.port}`).catch((error: unknown) =>
        String(error),
      );
      expect(failure).toContain("REDIS_URL");
      expect(failure).not.toContain("wrong@");
      const connection = await connect(`redis://:right@127.0.0.1:${redis.port}`);
      expect(connection.status().isUp).toBe(true);
    } finally {
      await redis.kill();
    }
  });

  it("is refused where another key schema or partition count was written", async () => {
    const redis = await startRedis();
    try {
      const first = await connect(redis.url);
      await first.run((client) => client.set(SCHEMA_KEY, "version=1 partitions=64"));
      await expect(connect(redis.url)).rejects.toThrow("partitions=64");
    } finally {
      await redis.kill();
    }
  });

  it("runs a script after Redis forgot it", async () => {
    const connection = await connect(inject("redisUrl"));
    const source = "return {ARGV[1], redis.sha1hex(ARGV[1])}";
    const [partition] = PARTITIONS;
    if (!partition) throw new Error("there are partitions");
    const sha1 = "0".repeat(40);
    const reply = await connection.script(
      { name: "echo", source, sha1 },
      { partition, keys: [], args: [Buffer.from([0, 255])] },
    );
    expect(reply).toEqual([Buffer.from([0, 255]), expect.any(Buffer)]);
  });

  it("refuses a script whose keys lie in two partitions", async () => {
    const connection = await connect(inject("redisUrl"));
    const here = channelKeys(channelOf("app", "order", "1"));
    const there = channelKeys(channelOf("app", "order", "2"));
    expect(here.partition).not.toEqual(there.partition);
    const call = { partition: here.partition, keys: [here.meta, there.meta], args: [] };
    await expect(connection.script({ name: "one", source: "return 1", sha1: "" }, call)).rejects.toThrow(
      "partition",
    );
  });

  it("agrees with Redis about slots", async () => {
    const redis = await startRedis({ args: ["--cluster-enabled", "yes"] });
    try {
      const node = new Redis(redis.url);
      for (const { tag, prefix } of PARTITIONS) {
        expect(await node.cluster("KEYSLOT", `${prefix}anything:x`)).toBe(slotOf(tag));
      }
      node.disconnect();
    } finally {
      await redis.kill();
    }
  });

  it("turns an error of Redis into unavailable and keeps its text to the cause", async () => {
    const connection = await connect(inject("redisUrl"));
    const failure = connection.run((client) => client.hget(SCHEMA_KEY, "field"));
    await expect(failure).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.not.stringContaining("WRONGTYPE") as unknown,
      cause: expect.objectContaining({ message: expect.stringContaining("WRONGTYPE") as unknown }) as unknown,
    });
    expect(connection.status().isUp).toBe(true);
  });
});
