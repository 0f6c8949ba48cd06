import { it } from "vitest";
import { fullOrShort, runScenario } from "../scenario.js";

const KILLS = fullOrShort(10, 2);

it(`kill -9 of a fanout, ${KILLS} times in a row: no socket closes, nothing is lost or repeated`, async () => {
  await runScenario({
    name: `kill -9 of a fanout, ${KILLS} times`,
    fault: async ({ cluster, random, pause, untilLinked }) => {
      for (let kill = 0; kill < KILLS; kill += 1) {
        const index = random.integer(0, cluster.fanouts.length);
        await cluster.fanouts[index]?.kill();
        await pause(random.integer(0, 1000));
        await cluster.startFanout(index);
        await untilLinked();
      }
    },
    // The short form runs beside everything else that a developer's machine does.
    allowed: { pauseMs: fullOrShort(3000, 6000) },
  });
});
