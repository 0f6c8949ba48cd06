import { it } from "vitest";
import { RedisSentinel } from "#test/support/redis-sentinel.js";
import { fullOrShort, runScenario } from "../scenario.js";
import { StoreProbe } from "../store-probe.js";

const FAILOVERS = fullOrShort(3, 1);
const WRITES_AGAIN_MS = 5000;

it("Sentinel failover: writes again within 5 s; what Redis itself lost is told", async () => {
  const redis = await RedisSentinel.start();
  try {
    await runScenario({
      name: `Sentinel failover, ${FAILOVERS} times`,
      cluster: { redis: redis.env },
      fault: async ({ cluster, pause, notes, breaches }) => {
        const probe = new StoreProbe(cluster);
        for (let failover = 0; failover < FAILOVERS; failover += 1) {
          const killed = await redis.killPrimary();
          const tookMs = Math.round(await probe.untilStored(20_000));
          notes.push(`writes again after ${tookMs} ms`);
          if (tookMs > WRITES_AGAIN_MS) breaches.push(`writes again only after ${tookMs} ms`);
          await pause(1000);
          await redis.bringBack(killed);
          await pause(1000);
        }
      },
      // Replication is asynchronous: the primary may have died with events that it had acknowledged.
      allowed: { told: Infinity, excused: Infinity },
    });
  } finally {
    await redis.stop();
  }
});
