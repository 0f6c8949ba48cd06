import { describe, expect, it } from "vitest";
import { newOffer } from "./offer-request.js";
import { nextDeadlineMs, stepOffer, type OfferCommand, type OfferRecord } from "./offer-machine.js";
import type { OfferMode } from "./offer.js";

const NOW_MS = 1_000_000;

const offer = (mode: OfferMode, candidates = ["p1", "p2", "p3"]) =>
  newOffer({
    app: "default",
    offerId: "o1",
    subjectId: "42",
    mode,
    candidates,
    timeLimitMs: 10_000,
    candidateTimeLimitMs: 3_000,
    data: undefined,
    correlationId: "",
    traceparent: "",
  });
const accept = (userId: string, fencingNumber = 1): OfferCommand => ({
  type: "accept",
  userId,
  role: "porter",
  fencingNumber,
});
const reject = (userId: string): OfferCommand => ({ type: "reject", userId, role: "porter", reason: "" });
const LOOK: OfferCommand = { type: "look" };

/** Commands, each with how long after the offer was made it comes. */
function play(mode: OfferMode, ...commands: readonly (readonly [afterMs: number, command: OfferCommand])[]) {
  let record: OfferRecord | undefined;
  const said: string[] = [];
  for (const [afterMs, command] of [
    [0, { type: "create", offer: offer(mode) } as const],
    ...commands,
  ] as const) {
    const step = stepOffer(record, command, NOW_MS + afterMs);
    record = step.record;
    said.push(step.outcome, ...step.changes.map(({ kind, userId }) => `${kind} ${userId}`.trim()));
  }
  if (record === undefined) throw new Error("an offer was made");
  return { record, said };
}

describe("an offer to all at once", () => {
  it("takes the first accept, and is over at its deadline to the millisecond", () => {
    expect(play("all_at_once", [9_999, accept("p2")]).said).toEqual(["done", "open", "done", "accepted p2"]);
    expect(play("all_at_once", [10_000, accept("p2")]).said).toEqual(["done", "open", "over", "expired"]);
  });

  it("stays as it ended, whatever comes and however late", () => {
    const { record, said } = play(
      "all_at_once",
      [1, accept("p1")],
      [2, accept("p2")],
      [3, reject("p1")],
      [4, { type: "withdraw", reason: "" }],
      [20_000, LOOK],
      [20_001, accept("p1")],
    );
    expect(said.slice(2)).toEqual(["done", "accepted p1", "over", "over", "over", "done", "repeated"]);
    expect(record).toMatchObject({ state: "accepted", winnerId: "p1", revision: 2, endedAtMs: NOW_MS + 1 });
    expect(nextDeadlineMs(record)).toBe(Infinity);
  });

  it("is nobody's turn to pass", () => {
    expect(play("all_at_once", [1, { type: "pass", userId: "p1" }]).said.at(-1)).toBe("passed");
  });
});

describe("an offer to one after the other", () => {
  it("gives each candidate their own time, from when they are asked", () => {
    const { record, said } = play("one_by_one", [1_000, reject("p1")], [3_999, LOOK], [4_000, LOOK]);
    expect(said).toEqual([
      ...["done", "open", "asked p1"],
      ...["done", "rejected p1", "asked p2"],
      "done",
      ...["done", "passed p2", "asked p3"],
    ]);
    expect(record.turnEndsAtMs).toBe(NOW_MS + 7_000);
    expect(nextDeadlineMs(record)).toBe(NOW_MS + 7_000);
  });

  it("asks the next only now where everybody was away for long", () => {
    const { record } = play("one_by_one", [8_000, LOOK]);
    expect(record).toMatchObject({ marks: "taw", turnEndsAtMs: NOW_MS + 10_000, state: "open" });
  });

  it("is over at its deadline, whoever's turn it is", () => {
    const { record, said } = play("one_by_one", [8_000, LOOK], [10_000, accept("p2")]);
    expect(said.slice(-2)).toEqual(["over", "expired"]);
    expect(record).toMatchObject({ state: "expired", reason: "", marks: "taw" });
  });

  it("does not know who waits for their turn, not even after it is over", () => {
    const { said } = play("one_by_one", [1, accept("p3")], [2, accept("p1")], [3, accept("p3")]);
    expect(said.slice(3)).toEqual(["unknown", "done", "accepted p1", "unknown"]);
  });

  it("takes nobody's late answer, and passes on by it", () => {
    const { said } = play("one_by_one", [3_000, accept("p1")], [3_001, accept("p2")]);
    expect(said.slice(3)).toEqual(["passed", "passed p1", "asked p2", "done", "accepted p2"]);
  });
});

it("a command for an offer that is not there finds none", () => {
  for (const command of [accept("p1"), reject("p1"), LOOK])
    expect(stepOffer(undefined, command, NOW_MS)).toEqual({
      record: undefined,
      changes: [],
      outcome: "unknown",
    });
});
