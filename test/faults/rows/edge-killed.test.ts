import { it } from "vitest";
import { fullOrShort, runScenario } from "../scenario.js";

it("kill -9 of an edge: its clients go on at the other, nothing is lost or repeated", async () => {
  await runScenario({
    name: "kill -9 of an edge",
    load: { withoutPositions: 0.3 },
    fault: async ({ cluster, random, pause, untilLinked }) => {
      const index = random.integer(0, cluster.edges.length);
      await cluster.edges[index]?.kill();
      await pause(fullOrShort(5000, 2000));
      await cluster.startEdge(index);
      await untilLinked();
    },
    allowed: { socketsClosed: Infinity, longestAwayMs: 10_000 },
  });
});
