/** A kill aimed between the step that stores an accept and the word to everybody else. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Cluster } from "#test/e2e/cluster.js";
import { crowdOf, type CrowdWorker } from "#test/e2e/offer-crowd.js";
import { waitFor } from "#test/support/wait-for.js";

/** One of three has a session at the fanout that crashes. */
const WORKERS = 24;
const CRASHING = 0;

let cluster: Cluster;
let crowd: readonly CrowdWorker[];

beforeAll(async () => {
  cluster = await Cluster.start({ fanouts: 3, env: { FANOUT_ROLES: "serve,relay" } });
  // Where the frame goes next it must not end that one too.
  await cluster.fanouts[CRASHING]?.stop(15_000);
  await cluster.startFanout(CRASHING, { TEST_HOOKS: "true" });
  await untilLinked();
  crowd = await crowdOf(cluster, WORKERS);
});
afterAll(() => cluster.stop());

async function untilLinked(): Promise<void> {
  await waitFor(async () => (await cluster.readyLinks()).every((links) => links === 3), {
    what: "a link from every edge to every fanout",
    timeoutMs: 30_000,
    pollMs: 50,
  });
}

it("an accept whose fanout dies before it tells anybody: the winner is answered, the losers are told by another", async () => {
  let crashes = 0;
  for (const [index, winner] of crowd.entries()) {
    const offerId = `test.crash-${index}`;
    const candidates = crowd.map(({ userId }) => userId);
    await cluster.api(1).call("OfferService", "CreateOffer", {
      app: cluster.app,
      ...{ offer_id: offerId, subject_id: offerId, candidate_ids: candidates, time_limit_ms: 120_000 },
    });
    await Promise.all(crowd.map((worker) => worker.untilTold(offerId, ["open"])));
    const crashing = cluster.fanouts[CRASHING];
    const crash = { hasCome: false };
    void crashing?.exited.then(() => (crash.hasCome = true));
    winner.accept(offerId);
    expect(await winner.untilAnswered(offerId)).toBe("accepted");
    await Promise.all(
      crowd.map((worker) => worker.untilTold(offerId, ["open", worker === winner ? "accepted" : "taken"])),
    );
    if (!crash.hasCome) continue;
    crashes += 1;
    // Its sessions live elsewhere from here on.
    break;
  }
  expect(crashes).toBe(1);
  for (const { client, repeats } of crowd) {
    expect(client.closedWith).toBeUndefined();
    expect(repeats).toEqual([]);
  }
});
