/** The Redis of a test run, and one of a test's own that dies and comes back where it was. */
import { Redis } from "ioredis";
import { expect, inject, test } from "vitest";
import { ping, startRedis } from "./redis.js";

test("the shared Redis knows sharded pub/sub", async () => {
  const redis = new Redis(inject("redisUrl"));
  try {
    expect(await redis.spublish("shared-redis-test", "hello")).toBe(0);
  } finally {
    redis.disconnect();
  }
});

test("a Redis of one's own is dead when killed and comes back on its port with its data", async () => {
  const first = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
  const writer = new Redis(first.url);
  writer.on("error", () => undefined);
  await writer.set("key", "kept");
  writer.disconnect();
  await first.kill();
  expect(await ping(first.port)).toBe(false);

  const second = await startRedis({ port: first.port, folder: first.folder, args: ["--appendonly", "yes"] });
  const reader = new Redis(second.url);
  expect(await reader.get("key")).toBe("kept");
  reader.disconnect();
  await second.stop();
  expect(await ping(first.port)).toBe(false);
});
