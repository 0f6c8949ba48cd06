/** Gathered calls of a script, on one Redis; how they are parted in Cluster: `redis-cluster-redis.test.ts`. */
import { createHash, randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { PARTITIONS } from "./partitions.js";
import { RedisConnection } from "./redis-connection.js";
import { ScriptBatches } from "./script-batches.js";
import type { RedisScript } from "./scripts.js";

const run = randomUUID();
let connection: RedisConnection;

beforeAll(async () => {
  connection = await RedisConnection.connect({ url: inject("redisUrl") });
});

afterAll(() => connection.close());

function scriptOf(name: string, source: string): RedisScript {
  return { name, source, sha1: createHash("sha1").update(source).digest("hex") };
}

/** Sets each key to the first argument and its own. */
const SET_ALL = scriptOf(
  `set-all-${run}`,
  "for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1] .. ARGV[i + 1], 'PX', 60000) end",
);

it("go together, whatever partitions their keys lie in, in calls of a bounded size", async () => {
  const batches = new ScriptBatches({ connection, script: SET_ALL, firstArgs: ["v"], maxPerCall: 10 });
  const keys = PARTITIONS.slice(0, 25).map(({ prefix }) => `${prefix}${run}`);
  const done = PARTITIONS.slice(0, 25).map((partition, index) =>
    batches.add(partition, [keys[index] ?? ""], [index]),
  );
  batches.flush();
  await Promise.all(done);
  const stored = await connection.run((client) => client.mget(keys));
  expect(stored).toEqual(keys.map((_, index) => `v${index}`));
  expect(connection.operations().get(SET_ALL.name)).toBe(3);
});

it("fail together with the store's error, and those after them do not", async () => {
  const [partition] = PARTITIONS;
  if (partition === undefined) throw new Error("there are partitions");
  const failing = scriptOf(
    `fails-${run}`,
    "if ARGV[1] == 'no' then return redis.error_reply('no') end return 1",
  );
  const batches = new ScriptBatches({ connection, script: failing, firstArgs: [], maxPerCall: 10 });
  const refused = [1, 2].map(() => batches.add(partition, [`${partition.prefix}${run}`], ["no"]));
  batches.flush();
  const taken = batches.add(partition, [`${partition.prefix}${run}`], ["yes"]);
  batches.flush();
  for (const each of refused) await expect(each).rejects.toMatchObject({ kind: "unavailable" });
  await expect(taken).resolves.toBeUndefined();
});
