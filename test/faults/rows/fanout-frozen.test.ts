import { it } from "vitest";
import { fullOrShort, runScenario } from "../scenario.js";

it.for(fullOrShort([4, 20], [5]))("SIGSTOP of a fanout for %i s does no harm", async (seconds) => {
  await runScenario({
    name: `SIGSTOP of a fanout for ${seconds} s`,
    fault: async ({ cluster, random, pause, untilLinked }) => {
      const fanout = random.pick(cluster.fanouts);
      fanout.freeze();
      await pause(seconds * 1000);
      fanout.thaw();
      await untilLinked();
    },
    allowed: {},
  });
});
