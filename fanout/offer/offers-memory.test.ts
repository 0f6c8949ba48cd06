/** Offers in memory: the contract, and what is forgotten. */
import { expect, it } from "vitest";
import { MemoryOutbox, MemoryOutboxEntries } from "#fanout/outbox/outbox-memory.js";
import { PARTITION_COUNT } from "#fanout/redis/partitions.js";
import { newOffer } from "./offer-request.js";
import { MemoryOffers } from "./offers-memory.js";
import { expectFairLook } from "./offers-due.contract.js";
import { describeNumbersAndAsked } from "./offer-numbers.contract.js";
import {
  describeOffers,
  MAX_OPEN,
  OUTBOX_BOUND,
  RETENTION_MS,
  type OffersHarness,
} from "./offers.contract.js";

const harness = async (): Promise<OffersHarness> => {
  const outbox = new MemoryOutboxEntries();
  const offers = new MemoryOffers({
    outbox,
    retentionMs: RETENTION_MS,
    outboxBound: OUTBOX_BOUND,
    maxOpen: MAX_OPEN,
  });
  return { offers, elsewhere: offers, outbox: new MemoryOutbox(outbox), close: async () => undefined };
};

describeOffers("offers in memory", harness);
describeNumbersAndAsked("fencing numbers and who was asked, in memory", harness);

it("forgets what is over also where nobody asks for it any more", async () => {
  let nowMs = 1_000_000;
  const outbox = new MemoryOutboxEntries();
  const offers = new MemoryOffers({ outbox, clock: { nowUs: () => nowMs * 1000 }, retentionMs: 1_000 });
  const name = { app: "default", offerId: "o1" };
  const offer = newOffer({
    ...name,
    subjectId: "42",
    mode: "all_at_once",
    candidates: ["p1"],
    timeLimitMs: 5_000,
    candidateTimeLimitMs: 0,
    data: undefined,
    correlationId: "",
    traceparent: "",
  });
  await offers.apply(name, { type: "create", offer });
  nowMs += 5_000;
  await offers.apply(name, { type: "look" });
  await offers.delivered(name, [1, 2]);
  nowMs += 1_000;
  await offers.due(
    Array.from({ length: PARTITION_COUNT }, (_, index) => index),
    0,
  );
  expect(offers.size).toBe(0);
});

it("finds what is due in each partition, however much waits in another", async () => {
  const offers = new MemoryOffers();
  await expectFairLook(offers, { app: "default" });
});
