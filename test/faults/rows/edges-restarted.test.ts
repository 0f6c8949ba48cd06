import { expect, it } from "vitest";
import { waitFor } from "#test/support/wait-for.js";
import { fullOrShort, runScenario, type FaultContext } from "../scenario.js";

const WINDOW_S = fullOrShort(10, 4);
/** The last second of a window is for sockets that do not go by themselves. */
const SPREAD_S = WINDOW_S - 1;
/** A second is cut out of the spread where it happens to begin. */
const UNEVEN = 1.5;

/** The most devices that came back within one second since then. */
function mostBackInASecond({ load }: FaultContext, sinceMs: number): number {
  const returns = load.devices
    .flatMap(({ record }) => record.entries)
    .flatMap((entry) => (entry.type === "back" && entry.atMs >= sinceMs ? [entry.atMs] : []));
  const within = (fromMs: number): number =>
    returns.filter((atMs) => atMs >= fromMs && atMs < fromMs + 1000).length;
  return Math.max(0, ...returns.map(within));
}

it("a rolling restart of the edges: everybody resumes elsewhere, spread over the drain window", async () => {
  await runScenario({
    name: "rolling restart of the edges",
    cluster: { env: { DRAIN_WINDOW: `${WINDOW_S}s` } },
    load: { withoutPositions: 0.3 },
    fault: async (context) => {
      const { cluster, load, random, notes, breaches, untilLinked } = context;
      for (const index of random.shuffle([...cluster.edges.keys()])) {
        const edge = cluster.edges[index];
        if (edge === undefined) throw new Error(`there is no edge ${index}`);
        const sockets = await cluster.metric(edge, "realtime_active_connections");
        const sinceMs = performance.now();
        expect(await edge.stop(WINDOW_S * 1000 + 15_000)).toEqual({ code: 0, signal: null });
        await waitFor(() => load.devices.every(({ isOpen }) => isOpen), { what: "everybody to be back" });
        const most = mostBackInASecond(context, sinceMs);
        const rate = sockets / SPREAD_S;
        notes.push(`${sockets} sockets over ${SPREAD_S} s: at most ${most} back in a second`);
        if (most > rate * UNEVEN)
          breaches.push(`${most} back in a second, allowed ${Math.ceil(rate * UNEVEN)}`);
        await cluster.startEdge(index);
        await untilLinked();
      }
    },
    allowed: { longestAwayMs: 2000 },
  });
});
