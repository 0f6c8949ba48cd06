import { expect, it } from "vitest";
import { fullOrShort, runScenario } from "../scenario.js";

it("a rolling restart of all fanouts by SIGTERM is hardly noticed", async () => {
  await runScenario({
    name: "rolling restart of the fanouts",
    fault: async ({ cluster, random, untilLinked }) => {
      for (const index of random.shuffle([...cluster.fanouts.keys()])) {
        expect(await cluster.fanouts[index]?.stop(15_000)).toEqual({ code: 0, signal: null });
        await cluster.startFanout(index);
        await untilLinked();
      }
    },
    // The short form runs beside everything else that a developer's machine does.
    allowed: { pauseMs: fullOrShort(500, 3000) },
  });
});
