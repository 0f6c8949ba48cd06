import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { asJson, EventTopics, type ReadRecord } from "./event-topics.js";
import { CrowdWorker, crowdOf, firstOccurrences, offerRecords, type OfferRecord } from "./offer-crowd.js";

const isLong = process.env["LONG_TESTS"] === "1";
const WORKERS = 50;
const OFFERS = isLong ? 1_000 : 40;
/** Offers that are fought for at the same time. */
const LANES = isLong ? 8 : 2;
const SHOW_MS = isLong ? 900_000 : 120_000;

let cluster: Cluster;
let kafka: EventTopics;
let topic: readonly ReadRecord[];
let crowd: readonly CrowdWorker[];

beforeAll(async () => {
  cluster = await Cluster.start({ fanouts: 4, edges: 2 });
  kafka = await EventTopics.connect(inject("kafkaBrokers"));
  topic = await kafka.read("offer-events", `reader-${cluster.app}`);
  crowd = await crowdOf(cluster, WORKERS);
});
afterAll(async () => {
  await kafka.close();
  await cluster.stop();
});

async function offer(offerId: string, candidates: readonly string[], more: object = {}, fanout = 0) {
  const asked = { app: cluster.app, offer_id: offerId, subject_id: "42", candidate_ids: candidates, ...more };
  const { response } = await cluster.api(fanout).call("OfferService", "CreateOffer", asked);
  return response["offer"] as { readonly expires_at_ms: number };
}

const onKafka = (offerId?: string): OfferRecord[] =>
  firstOccurrences(offerRecords(topic, cluster.app)).filter(
    (record) => offerId === undefined || record.offerId === offerId,
  );

/** All workers accept the same offer at the same moment; resolves with the winner when everybody was told. */
async function fight(offerId: string, api: number, meanwhile?: () => Promise<unknown>): Promise<string> {
  await offer(
    offerId,
    crowd.map(({ userId }) => userId),
    { time_limit_ms: 120_000 },
    api,
  );
  await Promise.all(crowd.map((worker) => worker.untilTold(offerId, ["open"])));
  for (const worker of crowd) worker.accept(offerId);
  await meanwhile?.();
  const answers = await Promise.all(crowd.map((worker) => worker.untilAnswered(offerId, 60_000)));
  const winners = crowd.filter((_, index) => answers[index] === "accepted");
  expect(winners.map(({ userId }) => userId)).toHaveLength(1);
  expect(answers.filter((answer) => answer === "conflict")).toHaveLength(WORKERS - 1);
  await Promise.all(
    crowd.map((worker) =>
      worker.untilTold(offerId, ["open", worker === winners[0] ? "accepted" : "taken"], 60_000),
    ),
  );
  return winners[0]?.userId ?? "";
}

async function fightForAll(prefix: string, apis: readonly number[], middle?: () => Promise<unknown>) {
  const winners = new Map<string, string>();
  const waiting = Array.from({ length: OFFERS }, (_, index) => index).values();
  const lane = async (): Promise<void> => {
    for (const index of waiting) {
      const offerId = `${prefix}-${index}`;
      const meanwhile = index === Math.floor(OFFERS / 2) ? middle : undefined;
      winners.set(offerId, await fight(offerId, apis[index % apis.length] ?? 0, meanwhile));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return winners;
}

/** Every offer was opened once and accepted once, by the worker who was told so, and nothing else. */
async function expectOnKafka(winners: ReadonlyMap<string, string>): Promise<void> {
  const isOurs = ({ offerId }: OfferRecord): boolean => winners.has(offerId);
  await waitFor(() => onKafka().filter(isOurs).length >= 2 * winners.size, {
    what: "every outcome on Kafka",
    timeoutMs: 60_000,
    pollMs: 200,
  });
  const byOffer = new Map<string, string[]>();
  for (const { offerId, type, workerId } of onKafka().filter(isOurs)) {
    byOffer.set(offerId, [...(byOffer.get(offerId) ?? []), `${type} ${workerId}`.trim()]);
  }
  for (const [offerId, winner] of winners)
    expect(byOffer.get(offerId)).toEqual(["offer.open", `offer.accepted ${winner}`]);
  const numbers = onKafka().flatMap(({ fencingNumber }) => (fencingNumber > 0 ? [fencingNumber] : []));
  expect(new Set(numbers).size).toBe(numbers.length);
}

describe(`${WORKERS} workers who accept the same offer at the same moment through four processes`, () => {
  it(
    `have exactly one winner, every loser told, every outcome once on Kafka (${OFFERS} offers)`,
    async () => {
      const homes = await Promise.all(
        cluster.fanouts.map((each) => cluster.metric(each, "realtime_sessions")),
      );
      expect(homes.every((sessions) => sessions > 0)).toBe(true);
      await expectOnKafka(await fightForAll("calm", [0, 1, 2, 3]));
      for (const worker of crowd) expect(worker.repeats).toEqual([]);
    },
    SHOW_MS,
  );

  it(
    `have so too where a fanout is killed in the middle (${OFFERS} offers)`,
    async () => {
      const winners = await fightForAll("killed", [0, 1, 2], async () => {
        await cluster.fanouts[3]?.kill();
      });
      await expectOnKafka(winners);
      for (const { client } of crowd) expect(client.closedWith).toBeUndefined();
      await cluster.startFanout(3);
    },
    SHOW_MS,
  );
});

describe("an offer to one after the other", () => {
  it("goes on when a candidate is offline, rejects, or lets the time pass", async () => {
    const offerId = `turns-${randomUUID()}`;
    const [rejects, sleeps, takes, never] = crowd;
    if (!rejects || !sleeps || !takes || !never) throw new Error("there are so many");
    const candidates = ["offline", ...[rejects, sleeps, takes, never].map(({ userId }) => userId)];
    await offer(offerId, candidates, {
      mode: "OFFER_MODE_ONE_BY_ONE",
      time_limit_ms: 60_000,
      candidate_time_limit_ms: 3_000,
    });
    await rejects.untilTold(offerId, ["open"]);
    rejects.client.send({ $case: "offerReject", value: { offerId, reason: "too far" } });
    await sleeps.untilTold(offerId, ["open"]);
    await takes.untilTold(offerId, ["open"]);
    takes.accept(offerId);
    expect(await takes.untilAnswered(offerId)).toBe("accepted");
    await takes.untilTold(offerId, ["open", "accepted"]);
    await sleeps.untilTold(offerId, ["open", "expired"]);
    await rejects.untilTold(offerId, ["open", "rejected"]);
    expect(never.told(offerId)).toEqual([]);
    const said = () => onKafka(offerId).map(({ type, workerId }) => `${type} ${workerId}`.trim());
    const wanted = [
      "offer.open",
      "offer.asked offline",
      "offer.passed offline",
      `offer.asked ${rejects.userId}`,
      `offer.rejected ${rejects.userId}`,
      `offer.asked ${sleeps.userId}`,
      `offer.passed ${sleeps.userId}`,
      `offer.asked ${takes.userId}`,
      `offer.accepted ${takes.userId}`,
    ];
    const what = "every change on Kafka";
    await waitFor(() => said().length >= wanted.length, { what, timeoutMs: 30_000 });
    expect(said()).toEqual(wanted);
  });
});

describe("an offer", () => {
  it("from Kafka reaches its candidates, is withdrawn from there, and is still seen by who comes back", async () => {
    const offerId = `kafka-${randomUUID()}`;
    const worker = crowd[0];
    const write = (type: string, data: object) =>
      kafka.write(
        cluster.topics.orders,
        0,
        asJson({ eventId: randomUUID(), type, app: cluster.app, data: { offerId, ...data } }),
      );
    await write("job.offer.created", {
      orderId: "42",
      porterIds: ["back", "w0"],
      timeLimitMs: 60_000,
      fare: 9.5,
    });
    await worker?.untilTold(offerId, ["open"]);
    const back = new CrowdWorker(await cluster.connect(1, "back", "porter"), "back");
    await back.untilTold(offerId, ["open"]);
    await write("job.offer.withdrawn", { reason: "sold out" });
    await worker?.untilTold(offerId, ["open", "withdrawn"]);
    await back.untilTold(offerId, ["open", "withdrawn"]);
    back.accept(offerId);
    expect(await back.untilAnswered(offerId)).toBe("conflict");
  });

  it("ends at its deadline though every fanout was away by then", async () => {
    const offerId = `away-${randomUUID()}`;
    const worker = crowd[0];
    const { expires_at_ms } = await offer(offerId, ["w0"], { time_limit_ms: 2_000 });
    await worker?.untilTold(offerId, ["open"]);
    await Promise.all(cluster.fanouts.map((fanout) => fanout.kill()));
    // The deadline itself is what is waited for.
    await sleep(Math.max(0, expires_at_ms - Date.now()));
    await Promise.all(cluster.fanouts.map((_, index) => cluster.startFanout(index)));
    await worker?.untilTold(offerId, ["open", "expired"], 40_000);
    await waitFor(() => onKafka(offerId).some(({ type }) => type === "offer.expired"), {
      what: "the end on Kafka",
      timeoutMs: 30_000,
    });
    expect(onKafka(offerId).map(({ type }) => type)).toEqual(["offer.open", "offer.expired"]);
  });
});
