/** Chat, offers and presence through what else breaks. Full runs only. */
import { expect, it } from "vitest";
import { startRedis } from "#test/support/redis.js";
import { BESIDE_DOMAIN, startDomain } from "../domain-load.js";
import { fullOrShort, runScenario, type ScenarioOptions } from "../scenario.js";
import { StoreProbe } from "../store-probe.js";

/** Longer than the leases of presence, so that what is frozen is taken for gone. */
const FROZEN_MS = fullOrShort(20_000, 5_000);
const AWAY_MS = fullOrShort(3_000, 1_000);
const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];

function withDomain(
  options: Pick<ScenarioOptions, "name" | "fault" | "allowed" | "cluster">,
): Promise<unknown> {
  return runScenario({ ...options, prepare: startDomain, load: BESIDE_DOMAIN });
}

it("chat, offers and presence hold through a rolling restart of all fanouts", async () => {
  await withDomain({
    name: "chat and offers: rolling restart of the fanouts",
    fault: async ({ cluster, random, untilLinked }) => {
      for (const index of random.shuffle([...cluster.fanouts.keys()])) {
        expect(await cluster.fanouts[index]?.stop(15_000)).toEqual({ code: 0, signal: null });
        await cluster.startFanout(index);
        await untilLinked();
      }
    },
    allowed: {},
  });
});

it("chat, offers and presence hold through a fanout that stands still and wakes up again", async () => {
  await withDomain({
    name: `chat and offers: SIGSTOP of a fanout for ${FROZEN_MS / 1000} s`,
    fault: async ({ cluster, random, pause, untilLinked }) => {
      const fanout = random.pick(cluster.fanouts);
      fanout.freeze();
      await pause(FROZEN_MS);
      fanout.thaw();
      await untilLinked();
    },
    allowed: {},
  });
});

it("chat, offers and presence hold through a Redis that is killed and comes back with its data", async () => {
  let redis = await startRedis({ args: DURABLE });
  try {
    await withDomain({
      name: "chat and offers: Redis killed and restarted with its data",
      cluster: { redisUrl: redis.url },
      fault: async ({ cluster, pause, notes }) => {
        const probe = new StoreProbe(cluster);
        await redis.kill();
        await pause(AWAY_MS);
        redis = await startRedis({ port: redis.port, folder: redis.folder, args: DURABLE });
        notes.push(`writes again ${Math.round(await probe.untilStored(20_000))} ms after its return`);
      },
      allowed: {},
    });
  } finally {
    await redis.kill();
  }
});

it("chat, offers and presence hold through kill -9 of an edge", async () => {
  await withDomain({
    name: "chat and offers: kill -9 of an edge",
    fault: async ({ cluster, random, pause, untilLinked }) => {
      const index = random.integer(0, cluster.edges.length);
      await cluster.edges[index]?.kill();
      await pause(fullOrShort(5_000, 2_000));
      await cluster.startEdge(index);
      await untilLinked();
    },
    allowed: { socketsClosed: Infinity, longestAwayMs: 10_000 },
  });
});
