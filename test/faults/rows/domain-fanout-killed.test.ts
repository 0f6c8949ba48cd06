import { it } from "vitest";
import { BESIDE_DOMAIN, startDomain } from "../domain-load.js";
import { fullOrShort, runScenario } from "../scenario.js";

const KILLS = fullOrShort(3, 1);

it(`chat, offers and presence hold through kill -9 of a fanout, ${KILLS} times`, async () => {
  await runScenario({
    name: `chat and offers: kill -9 of a fanout, ${KILLS} times`,
    prepare: startDomain,
    load: BESIDE_DOMAIN,
    fault: async ({ cluster, random, pause, untilLinked }) => {
      for (let kill = 0; kill < KILLS; kill += 1) {
        const index = random.integer(0, cluster.fanouts.length);
        await cluster.fanouts[index]?.kill();
        await pause(random.integer(0, 1000));
        await cluster.startFanout(index);
        await untilLinked();
      }
    },
    allowed: {},
  });
});
