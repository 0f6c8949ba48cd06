import { it } from "vitest";
import { fullOrShort, runScenario } from "../scenario.js";

const CUTS = fullOrShort(10, 3);
const DISTURBED_MS = fullOrShort(10_000, 3000);
const LATENCY_MS = 200;
/** Small enough to cut every frame; a segment for each byte would only measure the proxy. */
const PIECE_BYTES = 200;

it(`links cut ${CUTS} times, one at a time and all at once: nothing is lost or repeated`, async () => {
  await runScenario({
    name: `links cut ${CUTS} times`,
    cluster: { proxiedLinks: true },
    fault: async ({ cluster, random, pause, untilLinked }) => {
      for (let cut = 0; cut < CUTS; cut += 1) {
        const isForAll = cut % 3 === 2;
        for (const link of isForAll ? cluster.links : [random.pick(cluster.links)]) link.cut();
        await pause(random.integer(0, 1000));
        await untilLinked();
      }
    },
    allowed: { pauseMs: 10_000 },
  });
});

it("a link that is refused for a while: its sessions live elsewhere meanwhile", async () => {
  await runScenario({
    name: `a link refused for ${DISTURBED_MS / 1000} s`,
    cluster: { proxiedLinks: true },
    fault: async ({ cluster, random, pause, untilLinked }) => {
      const link = random.pick(cluster.links);
      link.refuse();
      await pause(DISTURBED_MS);
      link.normal();
      await untilLinked();
    },
    allowed: { pauseMs: 10_000 },
  });
});

it(`${LATENCY_MS} ms of latency each way on all links: nothing is lost or repeated, no socket closes`, async () => {
  await runScenario({
    name: `links with ${LATENCY_MS} ms of latency each way`,
    cluster: { proxiedLinks: true },
    fault: async ({ cluster, pause, untilLinked }) => {
      for (const link of cluster.links) link.delay(LATENCY_MS);
      await pause(DISTURBED_MS);
      for (const link of cluster.links) link.normal();
      await untilLinked();
    },
    allowed: { pauseMs: 10_000 },
  });
});

it("bytes of all links sliced: nothing is lost or repeated, no socket closes", async () => {
  await runScenario({
    name: `links sliced into pieces of up to ${PIECE_BYTES} bytes`,
    cluster: { proxiedLinks: true },
    fault: async ({ cluster, random, pause, untilLinked }) => {
      for (const link of cluster.links) link.slice({ maxBytes: PIECE_BYTES, random: random.branch().next });
      await pause(DISTURBED_MS);
      for (const link of cluster.links) link.normal();
      await untilLinked();
    },
    allowed: { pauseMs: 10_000 },
  });
});

it("a link that is stalled: its sessions move, and nothing of it comes twice when it goes on", async () => {
  await runScenario({
    name: `a link stalled for ${fullOrShort(20, 5)} s`,
    cluster: { proxiedLinks: true },
    fault: async ({ cluster, random, pause, untilLinked }) => {
      const link = random.pick(cluster.links);
      link.stall();
      await pause(fullOrShort(20_000, 5000));
      link.normal();
      await untilLinked();
    },
    allowed: { pauseMs: 10_000 },
  });
});
