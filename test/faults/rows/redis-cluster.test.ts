import { expect, it } from "vitest";
import { RedisCluster } from "#test/support/redis-cluster.js";
import { fullOrShort, runScenario } from "../scenario.js";
import { StoreProbe } from "../store-probe.js";

const AWAY_MS = fullOrShort(4000, 1000);
const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];

it("Redis Cluster as the store for everything: its masters are killed and restarted with their data", async () => {
  const redis = await RedisCluster.start({ args: DURABLE });
  try {
    await runScenario({
      name: "Redis Cluster of three masters, each killed and restarted",
      cluster: { redis: redis.env },
      fault: async ({ cluster, random, pause, notes }) => {
        const probe = new StoreProbe(cluster);
        const masters = random.shuffle(Array.from({ length: redis.size }, (_, index) => index));
        for (const master of fullOrShort(masters, masters.slice(0, 1))) {
          await redis.kill(master);
          await pause(AWAY_MS);
          const wrong = await probe.wrongRefusals();
          await redis.restart(master);
          notes.push(`writes again ${Math.round(await probe.untilStored(20_000))} ms after its return`);
          expect(wrong).toEqual([]);
          await pause(1000);
        }
      },
      allowed: {},
    });
  } finally {
    await redis.stop();
  }
});
