import { expect, it } from "vitest";
import { hasPreviousRelease, MISSING_RELEASE, previousRelease } from "../previous-release.js";
import { fullOrShort, runScenario } from "../scenario.js";

const TOGETHER_MS = fullOrShort(3000, 1000);

// A shallow clone can do without; where all must be proven its lack is a failure.
it.runIf(hasPreviousRelease() || process.env["CI"])(
  "fanouts of two releases at once: the roll-out and the way back are hardly noticed",
  async () => {
    const folder = previousRelease();
    await runScenario({
      name: "fanouts of two releases at once, rolled out and back",
      // What apps publish themselves the previous release does not know.
      load: { clientShare: 0 },
      prepare: async ({ cluster, untilLinked }) => {
        for (const [index, fanout] of cluster.fanouts.entries()) {
          await fanout.stop(15_000);
          await cluster.startFanout(index, {}, folder);
        }
        await untilLinked();
      },
      fault: async ({ cluster, random, pause, untilLinked }) => {
        const replace = async (index: number, release?: string): Promise<void> => {
          expect(await cluster.fanouts[index]?.stop(15_000)).toEqual({ code: 0, signal: null });
          await cluster.startFanout(index, {}, release);
          await untilLinked();
          await pause(TOGETHER_MS);
        };
        const order = random.shuffle([...cluster.fanouts.keys()]);
        for (const index of order) await replace(index);
        for (const index of order.slice(0, 1)) await replace(index, folder);
        for (const index of order.slice(0, 1)) await replace(index);
      },
      allowed: { pauseMs: 500 },
    });
  },
);

it.skipIf(hasPreviousRelease() || process.env["CI"])(
  `fanouts of two releases at once: not run: ${MISSING_RELEASE}`,
  () => {
    console.log(MISSING_RELEASE);
  },
);
