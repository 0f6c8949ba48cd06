import { expect, it } from "vitest";
import { startRedis } from "#test/support/redis.js";
import { fullOrShort, runScenario } from "../scenario.js";
import { StoreProbe } from "../store-probe.js";

const KILLS = fullOrShort(3, 1);
const AWAY_MS = fullOrShort(3000, 1000);
/** A write is answered only when it is on the disk. */
const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];

it("Redis killed and restarted with its data: nothing acknowledged is lost, refused writes say unavailable", async () => {
  let redis = await startRedis({ args: DURABLE });
  try {
    await runScenario({
      name: `Redis killed and restarted with its data, ${KILLS} times`,
      cluster: { redisUrl: redis.url },
      fault: async ({ cluster, pause, notes }) => {
        const probe = new StoreProbe(cluster);
        for (let kill = 0; kill < KILLS; kill += 1) {
          await redis.kill();
          const wrong = await probe.wrongRefusals();
          await pause(AWAY_MS);
          wrong.push(...(await probe.wrongRefusals()));
          redis = await startRedis({ port: redis.port, folder: redis.folder, args: DURABLE });
          notes.push(`writes again ${Math.round(await probe.untilStored(20_000))} ms after its return`);
          expect(wrong).toEqual([]);
          await pause(1000);
        }
      },
      allowed: {},
    });
  } finally {
    await redis.kill();
  }
});
