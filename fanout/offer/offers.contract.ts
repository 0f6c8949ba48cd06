/** What every store of offers promises, as tests; the machine's every step is in `offer-machine.test.ts`. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Outbox } from "#fanout/outbox/outbox.js";
import { recordOf } from "#fanout/outbox/outbox-record.js";
import { offerKeys } from "#fanout/redis/keys.js";
import { PARTITION_COUNT } from "#fanout/redis/partitions.js";
import { newOffer, type OfferRequest } from "./offer-request.js";
import type { OfferCommand } from "./offer-machine.js";
import type { NewOffer, OfferName } from "./offer.js";
import type { OfferAnswer, Offers } from "./offers.js";

export interface OffersHarness {
  readonly offers: Offers;
  /** Of the same store, as another fanout has it. */
  readonly elsewhere: Offers;
  readonly outbox: Outbox;
  close(): Promise<void>;
}

/** With which the harness makes its offers. */
export const RETENTION_MS = 150;
export const OUTBOX_BOUND = 40;
export const MAX_OPEN = 5;

const ALL = { maxEntries: 1_000, maxBytes: 10_000_000 };
const EVERYWHERE = Array.from({ length: PARTITION_COUNT }, (_, index) => index);

export function describeOffers(name: string, makeHarness: () => Promise<OffersHarness>): void {
  describe(name, () => {
    let harness: OffersHarness;
    let offers: Offers;
    let offer: OfferName;

    beforeEach(async () => {
      harness = await makeHarness();
      offers = harness.offers;
      offer = { app: `app-${randomUUID()}`, offerId: "o1" };
    });
    afterEach(() => harness.close());

    function made(more: Partial<OfferRequest> = {}, limits: Partial<NewOffer> = {}): NewOffer {
      const request: OfferRequest = {
        ...offer,
        subjectId: "42",
        mode: "all_at_once",
        candidates: ["p1", "p2", "p3"],
        timeLimitMs: 0,
        candidateTimeLimitMs: 0,
        data: { fare: 9.5, stops: [{ at: "A" }] },
        correlationId: "order-42",
        traceparent: "",
        ...more,
      };
      return { ...newOffer(request), ...limits };
    }
    const create = (more: Partial<OfferRequest> = {}, limits: Partial<NewOffer> = {}) =>
      offers.apply(offer, { type: "create", offer: made(more, limits) });
    const accept = (userId: string, fencingNumber?: number, at = offers) =>
      at.apply(offer, {
        type: "accept",
        userId,
        role: "porter",
        ...(fencingNumber !== undefined && { fencingNumber }),
      });
    const reject = (userId: string) =>
      offers.apply(offer, { type: "reject", userId, role: "porter", reason: "too far" });
    const withdraw = () => offers.apply(offer, { type: "withdraw", reason: "sold out" });
    const look = (): Promise<OfferAnswer> => offers.apply(offer, { type: "look" });
    const viewed = async () => {
      await look();
      return offers.view(offer);
    };
    const kinds = async () => (await offers.undelivered(offer))?.changes.map(({ kind }) => kind);
    const until = (expectation: () => unknown) => vi.waitFor(expectation, { timeout: 5_000, interval: 10 });

    async function written(): Promise<ReturnType<typeof recordOf>[]> {
      const { entries } = await harness.outbox.read(offerKeys(offer).partition.index, ALL);
      return entries
        .filter(({ channel }) => channel === `${offer.app}/offer:${offer.offerId}`)
        .map((entry) => recordOf(entry));
    }

    async function outcomesOf(...commands: readonly OfferCommand[]): Promise<string[]> {
      const outcomes: string[] = [];
      for (const command of commands) outcomes.push((await offers.apply(offer, command)).outcome);
      return outcomes;
    }

    describe("an offer", () => {
      it("is made once for its id, and known with all that was said of it", async () => {
        expect(await viewed()).toBeUndefined();
        expect(await create()).toMatchObject({ outcome: "done", state: "open", subjectId: "42", changes: 1 });
        expect(await create()).toMatchObject({ outcome: "repeated", changes: 0 });
        expect(await create({ data: { stops: [{ at: "A" }], fare: 9.5 } })).toMatchObject({
          outcome: "repeated",
        });
        expect(await create({ subjectId: "43" })).toMatchObject({ outcome: "other", changes: 0 });
        const view = await viewed();
        expect(view).toMatchObject({
          ...offer,
          mode: "all_at_once",
          state: "open",
          candidates: ["p1", "p2", "p3"],
          marks: "aaa",
          winnerId: "",
          fencingNumber: 0,
          endedAtMs: 0,
          askedRevision: 1,
        });
        expect((view?.expiresAtMs ?? 0) - (view?.createdAtMs ?? 0)).toBe(30_000);
        expect(view?.answerUntilMs).toBe(view?.expiresAtMs);
      });

      it("is accepted by one, whose repeats get the same answer, and by nobody else", async () => {
        await create();
        expect(await accept("p2")).toMatchObject({ outcome: "draw", state: "open", changes: 0 });
        const won = await accept("p2", 7);
        expect(won).toMatchObject({ outcome: "done", state: "accepted", fencingNumber: 7, changes: 1 });
        expect(await accept("p2", 9)).toMatchObject({
          outcome: "repeated",
          fencingNumber: 7,
          endedAtMs: won.endedAtMs,
          changes: 0,
        });
        expect(await accept("p1", 8)).toMatchObject({ outcome: "over", state: "accepted" });
        expect(await reject("p1")).toMatchObject({ outcome: "over", state: "accepted" });
        expect(await accept("stranger", 8)).toMatchObject({ outcome: "unknown" });
        expect(await withdraw()).toMatchObject({ outcome: "over", state: "accepted" });
        expect(await viewed()).toMatchObject({ marks: "aAa", winnerId: "p2", fencingNumber: 7 });
      });

      it("has exactly one winner when all accept at once, through two fanouts", async () => {
        const candidates = Array.from({ length: 100 }, (_, index) => `p${index}`);
        await create({ candidates });
        const answers = await Promise.all(
          candidates.map((userId, index) =>
            accept(userId, index + 1, index % 2 === 0 ? offers : harness.elsewhere),
          ),
        );
        expect(answers.filter(({ outcome }) => outcome === "done")).toHaveLength(1);
        expect(answers.filter(({ outcome }) => outcome === "over")).toHaveLength(99);
        expect(await kinds()).toEqual(["open", "accepted"]);
      });

      it("that is withdrawn is over, and withdrawing it again changes nothing", async () => {
        await create();
        expect(await withdraw()).toMatchObject({ outcome: "done", state: "withdrawn", changes: 1 });
        expect(await withdraw()).toMatchObject({ outcome: "repeated", changes: 0 });
        expect(await accept("p1", 1)).toMatchObject({ outcome: "over", state: "withdrawn" });
        expect(await viewed()).toMatchObject({ reason: "sold out", marks: "aaa" });
      });

      it("whose time is over is refused by the step itself, though nobody has swept", async () => {
        await create({}, { timeLimitMs: 40 });
        const { createdAtMs = 0, expiresAtMs = 0 } = (await viewed()) ?? {};
        expect(expiresAtMs - createdAtMs).toBe(40);
        await until(async () => expect((await offers.due(EVERYWHERE, 60_000)).overdue).toContainEqual(offer));
        expect(await accept("p1", 1)).toMatchObject({ outcome: "over", state: "expired", changes: 1 });
        expect(await kinds()).toEqual(["open", "expired"]);
        expect((await offers.due(EVERYWHERE, 60_000)).overdue).not.toContainEqual(offer);
      });

      it("that came too late asks nobody, and says that it is over", async () => {
        expect(await create({}, { expiresAtMs: Date.now() - 1 })).toMatchObject({
          state: "expired",
          changes: 2,
        });
        const changes = (await offers.undelivered(offer))?.changes ?? [];
        expect(changes.map(({ kind, marks }) => [kind, marks])).toEqual([
          ["open", "www"],
          ["expired", "www"],
        ]);
      });

      it("that all have rejected is over at once", async () => {
        await create();
        expect(await reject("p1")).toMatchObject({ outcome: "done", state: "open", changes: 1 });
        expect(await reject("p1")).toMatchObject({ outcome: "repeated", changes: 0 });
        expect(await accept("p1", 1)).toMatchObject({ outcome: "rejected" });
        await reject("p2");
        expect(await reject("p3")).toMatchObject({ outcome: "done", state: "expired", changes: 2 });
        expect(await viewed()).toMatchObject({ reason: "no_candidate_left", marks: "rrr" });
      });

      it("is forgotten some time after its end, when everything is delivered, and its id is free again", async () => {
        await create({}, { timeLimitMs: 30 });
        await withdraw();
        await offers.delivered(offer, [1]);
        await offers.delivered(offer, [1, 2]);
        await offers.delivered(offer, [2]);
        await until(async () => expect(await viewed()).toBeUndefined());
        expect(await withdraw()).toMatchObject({ outcome: "unknown", state: undefined });
        expect(await create()).toMatchObject({ outcome: "done" });
      });

      it("is not forgotten while something of it is not delivered", async () => {
        await create({}, { timeLimitMs: 20 });
        await until(async () => expect((await viewed())?.state).toBe("expired"));
        const endedAtMs = (await viewed())?.endedAtMs ?? 0;
        await until(() => expect(Date.now()).toBeGreaterThan(endedAtMs + 2 * RETENTION_MS));
        expect(await kinds()).toEqual(["open", "expired"]);
      });
    });

    describe("an offer made to one after the other", () => {
      const inTurn = (limits: Partial<NewOffer> = {}) => create({ mode: "one_by_one" }, limits);

      it("asks the next when one rejects, and knows nobody whose turn has not come", async () => {
        expect(await inTurn()).toMatchObject({ outcome: "done", changes: 2 });
        expect(await accept("p2", 1)).toMatchObject({ outcome: "unknown" });
        expect(await reject("p1")).toMatchObject({ outcome: "done", changes: 2 });
        expect(await accept("p1", 1)).toMatchObject({ outcome: "rejected" });
        expect(await viewed()).toMatchObject({ marks: "raw", askedRevision: 4 });
        expect(await accept("p2", 5)).toMatchObject({ outcome: "done", state: "accepted" });
        const changes = (await offers.undelivered(offer))?.changes ?? [];
        expect(changes.map(({ revision, kind, userId, marks }) => [revision, kind, userId, marks])).toEqual([
          [1, "open", "", "www"],
          [2, "asked", "p1", "aww"],
          [3, "rejected", "p1", "rww"],
          [4, "asked", "p2", "raw"],
          [5, "accepted", "p2", "rAw"],
        ]);
        expect(changes[2]).toMatchObject({ role: "porter", reason: "too far" });
        expect(changes[4]).toMatchObject({ role: "porter", fencingNumber: 5 });
      });

      it("asks the next when a turn is over, each for as long, and is over when nobody is left", async () => {
        await inTurn({ candidateTimeLimitMs: 30, timeLimitMs: 60_000 });
        await until(async () => {
          const { overdue } = await offers.due(EVERYWHERE, 60_000);
          if (overdue.some(({ app }) => app === offer.app)) await look();
          expect((await viewed())?.state).toBe("expired");
        });
        const changes = (await offers.undelivered(offer))?.changes ?? [];
        expect(changes.map(({ kind, userId, reason }) => `${kind} ${userId} ${reason}`)).toEqual([
          "open  ",
          "asked p1 ",
          "passed p1 timeout",
          "asked p2 ",
          "passed p2 timeout",
          "asked p3 ",
          "passed p3 timeout",
          "expired  no_candidate_left",
        ]);
        const asked = changes.filter(({ kind }) => kind === "asked");
        expect(asked.map(({ expiresAtMs, timeMs }) => expiresAtMs - timeMs)).toEqual([30, 30, 30]);
        expect(await viewed()).toMatchObject({ marks: "ttt" });
      });

      it("refuses who answers after their turn, and passes on by that", async () => {
        await inTurn({ candidateTimeLimitMs: 30, timeLimitMs: 60_000 });
        const { answerUntilMs = Infinity } = (await viewed()) ?? {};
        await until(() => expect(Date.now()).toBeGreaterThan(answerUntilMs + 5));
        expect(await accept("p1", 1)).toMatchObject({ outcome: "passed", state: "open", changes: 2 });
      });

      it("passes over who is not there, only while it is their turn", async () => {
        await inTurn();
        const pass = (userId: string): OfferCommand => ({ type: "pass", userId });
        expect(await outcomesOf(pass("p2"), pass("p1"), pass("p1"))).toEqual(["passed", "done", "passed"]);
        expect(await viewed()).toMatchObject({ marks: "oaw" });
        expect(await outcomesOf(pass("p2"), pass("p3"))).toEqual(["done", "done"]);
        expect(await viewed()).toMatchObject({ state: "expired", reason: "no_candidate_left" });
      });

      it("gives nobody longer than the offer has", async () => {
        await inTurn({ candidateTimeLimitMs: 60_000, timeLimitMs: 5_000 });
        const view = await viewed();
        expect(view?.answerUntilMs).toBe(view?.expiresAtMs);
      });
    });

    describe("changes", () => {
      it("wait for delivery until they are delivered, exactly those", async () => {
        expect((await create()).undeliveredForMs).toBeGreaterThanOrEqual(0);
        await reject("p1");
        const page = await harness.elsewhere.undelivered(offer);
        expect(page).toMatchObject({ candidates: ["p1", "p2", "p3"] });
        expect(page?.changes.map(({ revision }) => revision)).toEqual([1, 2]);
        await offers.delivered(offer, [1]);
        expect(await kinds()).toEqual(["rejected"]);
        await until(async () => expect((await offers.due(EVERYWHERE, 10)).undelivered).toContainEqual(offer));
        expect((await offers.due(EVERYWHERE, 60_000)).undelivered).not.toContainEqual(offer);
        await offers.delivered(offer, [2]);
        expect((await offers.due(EVERYWHERE, 0)).undelivered).not.toContainEqual(offer);
        expect((await reject("p1")).undeliveredForMs).toBeUndefined();
      });

      it("are due only in the partition that is asked about", async () => {
        await create({}, { timeLimitMs: 1 });
        const { index } = offerKeys(offer).partition;
        await until(async () => expect((await offers.due([index], 0)).overdue).toContainEqual(offer));
        const others = await offers.due(
          EVERYWHERE.filter((each) => each !== index),
          0,
        );
        expect(others.overdue).not.toContainEqual(offer);
        expect(others.undelivered).not.toContainEqual(offer);
      });

      it("are in the outbox, each once, in order, with an id and a type of their own", async () => {
        const { seed } = made();
        await create({}, { seed });
        await create();
        await reject("p1");
        await accept("p2", 1_790_000_000_000_123);
        await accept("p2", 5);
        const records = await written();
        expect(records.map(({ key, headers }) => [key, headers["event-id"]])).toEqual([
          ["o1", `${seed}-1`],
          ["o1", `${seed}-2`],
          ["o1", `${seed}-3`],
        ]);
        const said = records.map(({ value }): unknown => JSON.parse(Buffer.from(value).toString()));
        const data = { fare: 9.5, stops: [{ at: "A" }] };
        const shared = { offerId: "o1", subjectId: "42", data, channel: "offer:o1" };
        expect(said).toMatchObject([
          { type: "offer.open", correlationId: "order-42", data: { ...shared, state: "open", senderId: "" } },
          {
            type: "offer.rejected",
            data: { ...shared, state: "open", workerId: "p1", reason: "too far", senderId: "p1" },
          },
          {
            type: "offer.accepted",
            data: {
              ...shared,
              state: "accepted",
              workerId: "p2",
              fencingNumber: 1_790_000_000_000_123,
              senderRole: "porter",
              position: { epoch: seed, offset: 3 },
            },
          },
        ]);
      });

      it("wake whoever relays the partition", async () => {
        const heard = vi.fn();
        await harness.outbox.listen(offerKeys(offer).partition.index, heard);
        await create();
        await until(() => expect(heard).toHaveBeenCalled());
        harness.outbox.unlisten(offerKeys(offer).partition.index);
      });

      it("are refused where too much waits for Kafka, and nothing is changed by that", async () => {
        const candidates = Array.from({ length: OUTBOX_BOUND + 5 }, (_, index) => `p${index}`);
        await create({ candidates });
        for (let index = 1; index < OUTBOX_BOUND; index++) await reject(`p${index}`);
        await expect(accept("p0", 1)).rejects.toMatchObject({ kind: "unavailable", retryAfterMs: 5_000 });
        await expect(reject("p0")).rejects.toMatchObject({ kind: "unavailable" });
        // A repeat needs no room.
        expect(await reject("p3")).toMatchObject({ outcome: "repeated" });
        expect(await viewed()).toMatchObject({ state: "open" });
        const { index } = offerKeys(offer).partition;
        await harness.outbox.remove(index, (await harness.outbox.read(index, ALL)).entries);
        expect(await accept("p0", 1)).toMatchObject({ outcome: "done", state: "accepted" });
      });
    });

    it("refuses more open offers in a partition than its bound", async () => {
      const { index } = offerKeys(offer).partition;
      const inIt: OfferName[] = [];
      for (let number = 0; inIt.length <= MAX_OPEN; number++) {
        const each = { app: offer.app, offerId: `other${number}` };
        if (offerKeys(each).partition.index === index) inIt.push(each);
      }
      const makeEach = (each: OfferName) =>
        offers.apply(each, { type: "create", offer: { ...made(), ...each } });
      for (const each of inIt.slice(0, MAX_OPEN)) await makeEach(each);
      const [first, last] = [inIt[0], inIt[MAX_OPEN]];
      if (first === undefined || last === undefined) throw new Error("there are so many");
      await expect(makeEach(last)).rejects.toMatchObject({ kind: "unavailable" });
      await offers.apply(first, { type: "withdraw", reason: "" });
      expect(await makeEach(last)).toMatchObject({ outcome: "done" });
    });
  });
}
