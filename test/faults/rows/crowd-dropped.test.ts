import { it } from "vitest";
import { waitFor } from "#test/support/wait-for.js";
import { collectedBytes, INSPECTED } from "../collected-memory.js";
import { Crowd } from "../crowd.js";
import { fullOrShort, runScenario, type FaultContext } from "../scenario.js";

const SIZE = fullOrShort(5000, 500);
const BACK_WITHIN_MS = 30_000;
/** Channels that nobody follows any more linger for a while. */
const SETTLED_WITHIN_MS = 60_000;

/** In MB, of all edges and of all fanouts. */
async function memory({ cluster }: FaultContext): Promise<{ edges: number; fanouts: number }> {
  return {
    edges: Math.round((await collectedBytes(cluster.edges)) / 1e5) / 10,
    fanouts: Math.round((await collectedBytes(cluster.fanouts)) / 1e5) / 10,
  };
}

it(`${SIZE} clients dropped at once are all back within 30 s, and leave nothing behind`, async () => {
  let crowd: Crowd | undefined;
  await runScenario({
    name: `${SIZE} clients dropped at once`,
    // The test's clients share two cores with the gateway: they are let in as fast as those can take them.
    cluster: { env: { ...INSPECTED, HANDSHAKES_PER_SECOND: "200" } },
    prepare: async (context) => {
      crowd = await Crowd.gather(context, { size: SIZE, perOrder: 100, writesPerSecond: 10 });
    },
    fault: async (context) => {
      const before = await memory(context);
      await crowd?.dropAll(2 * BACK_WITHIN_MS);
      let after = before;
      await waitFor(
        async () => {
          after = await memory(context);
          return after.edges <= before.edges * 1.1 && after.fanouts <= before.fanouts * 1.1;
        },
        { what: "the memory to be as before", timeoutMs: SETTLED_WITHIN_MS, pollMs: 5000 },
      ).catch((error: unknown) => context.breaches.push(String(error)));
      context.notes.push(
        `MB edges ${before.edges} → ${after.edges}, fanouts ${before.fanouts} → ${after.fanouts}`,
      );
    },
    allowed: { socketsClosed: SIZE, longestAwayMs: BACK_WITHIN_MS },
  });
});
