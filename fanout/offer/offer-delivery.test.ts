import { beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { OfferState } from "#proto/gen/realtime/client/v1/event.js";
import type { PublishRequest } from "#fanout/channel/publisher.js";
import { PARTITION_COUNT } from "#fanout/redis/partitions.js";
import { gate, SILENT } from "#test/support/fanout-core.js";
import { OfferCounters } from "./offer-counters.js";
import { OfferDelivery } from "./offer-delivery.js";
import { OfferDesk } from "./offer-desk.js";
import type { OfferRequest } from "./offer-request.js";
import { OfferSweep } from "./offer-sweep.js";
import { MemoryOffers } from "./offers-memory.js";

const NAME = { app: "default", offerId: "o1" };
const WORDS: Readonly<Record<number, string>> = {
  [OfferState.OFFER_STATE_OPEN]: "open",
  [OfferState.OFFER_STATE_ACCEPTED]: "accepted",
  [OfferState.OFFER_STATE_TAKEN]: "taken",
  [OfferState.OFFER_STATE_WITHDRAWN]: "withdrawn",
  [OfferState.OFFER_STATE_EXPIRED]: "expired",
  [OfferState.OFFER_STATE_REJECTED]: "rejected",
};

let nowMs: number;
let offers: MemoryOffers;
let offline: Set<string>;
/** What each user was told, repeats dropped as channels drop them. */
let told: Map<string, string[]>;
let published: string[];
let failure: ((request: PublishRequest) => Promise<void>) | undefined;

beforeEach(() => {
  nowMs = 1_000_000;
  offers = new MemoryOffers({ clock });
  offline = new Set();
  told = new Map();
  published = [];
  seen = new Set();
  failure = undefined;
});

const clock = { nowUs: () => nowMs * 1000 };
/** By channel and event. */
let seen: Set<string>;

/** A fanout: what it delivers, and what it offers. */
function fanout() {
  const counters = new OfferCounters();
  const publish = async (request: PublishRequest) => {
    await failure?.(request);
    const { channel, event } = request;
    const key = `${channel.name} ${event.id}`;
    published.push(key);
    const isRepeat = seen.has(key);
    seen.add(key);
    if (!isRepeat && event.body?.$case === "offer") {
      const word = WORDS[event.body.value.state] ?? "?";
      told.set(channel.id, [...(told.get(channel.id) ?? []), word]);
    }
    return { outcome: "published" as const, eventId: event.id, timeMs: nowMs };
  };
  const online = { isOnline: (_app: string, userId: string) => Promise.resolve(!offline.has(userId)) };
  const delivery = new OfferDelivery({ offers, publisher: { publish }, online, counters, logger: SILENT });
  const desk = new OfferDesk({ offers, delivery, clock, counters });
  const partitions = () => Array.from({ length: PARTITION_COUNT }, (_, index) => index);
  const sweep = new OfferSweep({ offers, delivery, counters, logger: SILENT, partitions });
  return { counters, delivery, desk, sweep };
}

const request = (more: Partial<OfferRequest> = {}): OfferRequest => ({
  ...NAME,
  subjectId: "42",
  mode: "all_at_once",
  candidates: ["p1", "p2", "p3"],
  timeLimitMs: 10_000,
  candidateTimeLimitMs: 3_000,
  data: undefined,
  correlationId: "",
  traceparent: "",
  ...more,
});
const by = (userId: string) => ({ app: "default", userId, role: "porter" });
const allTold = () => Object.fromEntries([...told].sort());
const away = () => Promise.reject(new GatewayError("unavailable", "the store is away"));

describe("candidates", () => {
  it("hear of an offer and how it ended for them", async () => {
    const { desk, delivery } = fanout();
    await desk.create(request({ candidates: ["p1", "p2", "p3", "p4"] }));
    await desk.reject(by("p4"), "o1", "");
    await desk.accept(by("p2"), "o1");
    await delivery.settled();
    expect(allTold()).toEqual({
      p1: ["open", "taken"],
      p2: ["open", "accepted"],
      p3: ["open", "taken"],
      p4: ["open", "rejected"],
    });
  });

  it("who were asked hear that it was withdrawn; who was not asked yet hears nothing", async () => {
    const { desk, delivery } = fanout();
    await desk.create(request({ mode: "one_by_one" }));
    await desk.reject(by("p1"), "o1", "");
    await desk.withdraw(NAME, "");
    await delivery.settled();
    expect(allTold()).toEqual({ p1: ["open", "rejected"], p2: ["open", "withdrawn"] });
  });

  it("who are not there when their turn comes are passed over", async () => {
    const { desk, delivery, counters } = fanout();
    offline = new Set(["p1", "p2"]);
    await desk.create(request({ mode: "one_by_one" }));
    await delivery.settled();
    expect(told.get("p3")).toEqual(["open"]);
    expect(told.get("p1")).toEqual(["expired"]);
    expect(counters.commands.passed).toBe(2);
    expect((await offers.view(NAME))?.marks).toBe("ooa");
    await expect(desk.accept(by("p1"), "o1")).rejects.toMatchObject({ kind: "expired" });
    await desk.accept(by("p3"), "o1");
  });
});

describe("what a worker who comes back is told from", () => {
  it("holds only the offers that are not over for them", async () => {
    const { desk, delivery } = fanout();
    for (const offerId of ["taken", "withdrawn", "rejected", "open"]) await desk.create(request({ offerId }));
    await desk.create(request({ offerId: "turn", mode: "one_by_one" }));
    await delivery.settled();
    expect([...(await offers.askedOf("default", "p1"))].sort()).toEqual(
      ["taken", "withdrawn", "rejected", "open", "turn"].sort(),
    );
    await desk.accept(by("p2"), "taken");
    await desk.withdraw({ ...NAME, offerId: "withdrawn" }, "");
    await desk.reject(by("p1"), "rejected", "");
    await desk.reject(by("p1"), "turn", "");
    await delivery.settled();
    expect(await offers.askedOf("default", "p1")).toEqual(["open"]);
    expect([...(await offers.askedOf("default", "p2"))].sort()).toEqual(["open", "rejected", "turn"]);
  });

  it("is not filled up by offers of a day that others have taken", async () => {
    const { desk, delivery } = fanout();
    for (let index = 0; index < 120; index++) {
      const offerId = `day-${index}`;
      await desk.create(request({ offerId, timeLimitMs: 24 * 3_600_000 }));
      await desk.accept(by("p2"), offerId);
    }
    await delivery.settled();
    await desk.create(request());
    await delivery.settled();
    expect(await offers.askedOf("default", "p1")).toEqual(["o1"]);
  });
});

describe("the next candidate is asked", () => {
  it("when a turn is over, by the sweep", async () => {
    const { desk, delivery, sweep } = fanout();
    await desk.create(request({ mode: "one_by_one" }));
    await delivery.settled();
    nowMs += 3_000;
    await sweep.tick();
    await delivery.settled();
    expect(allTold()).toEqual({ p1: ["open", "expired"], p2: ["open"] });
  });

  it("by another fanout, where the one that made the offer is gone", async () => {
    const gone = fanout();
    failure = away;
    await gone.desk.create(request({ mode: "one_by_one" }));
    await gone.delivery.settled();
    expect(told.size).toBe(0);
    failure = undefined;
    const other = fanout();
    nowMs += 999;
    await other.sweep.tick();
    await other.delivery.settled();
    expect(told.size).toBe(0);
    nowMs += 1;
    await other.sweep.tick();
    await other.delivery.settled();
    expect(allTold()).toEqual({ p1: ["open"] });
    expect(other.counters.late).toBe(1);
  });
});

describe("delivery", () => {
  it("goes on with the oldest change where a fanout died in the middle, and repeats are the same events", async () => {
    const dying = fanout();
    failure = ({ channel }) => (channel.id === "p3" ? away() : Promise.resolve());
    await dying.desk.create(request());
    await dying.delivery.settled();
    expect([...told.keys()].sort()).toEqual(["p1", "p2"]);
    failure = undefined;
    const other = fanout();
    await other.desk.accept(by("p1"), "o1");
    await other.delivery.settled();
    expect(allTold()).toEqual({
      p1: ["open", "accepted"],
      p2: ["open", "taken"],
      p3: ["open", "taken"],
    });
    expect(new Set(published).size).toBe(6);
    expect(published.length).toBeGreaterThan(6);
  });

  it("tells everybody else where one can never be told", async () => {
    const { desk, delivery, counters } = fanout();
    failure = ({ channel }) =>
      channel.id === "p2"
        ? Promise.reject(new GatewayError("payload_too_large", "never"))
        : Promise.resolve();
    await desk.create(request());
    await delivery.settled();
    expect([...told.keys()].sort()).toEqual(["p1", "p3"]);
    expect((await offers.undelivered(NAME))?.changes).toEqual([]);
    expect(counters.deliveryFailures).toBe(1);
  });

  it("does not hold up the answer", async () => {
    const { desk, delivery } = fanout();
    const publishing = gate();
    failure = () => publishing.opened;
    await desk.create(request());
    expect(await desk.accept(by("p1"), "o1")).toMatchObject({ timeMs: nowMs });
    expect(told.size).toBe(0);
    publishing.open();
    await delivery.settled();
    expect(told.get("p1")).toEqual(["open", "accepted"]);
  });

  it("takes nothing new once it is stopped, and leaves it to others", async () => {
    const { desk, delivery, counters } = fanout();
    await delivery.stop();
    await desk.create(request());
    await delivery.settled();
    expect(told.size).toBe(0);
    expect(counters.leftToSweep).toBe(1);
  });
});

describe("the end of an offer", () => {
  it("is told though every fanout was away when its time was over", async () => {
    await fanout().desk.create(request());
    nowMs += 3_600_000;
    const { sweep, delivery } = fanout();
    await sweep.tick();
    await delivery.settled();
    expect(allTold()).toEqual({ p1: ["open", "expired"], p2: ["open", "expired"], p3: ["open", "expired"] });
    expect((await offers.view(NAME))?.state).toBe("expired");
  });

  it("is told to the loser by error too, each in its own words", async () => {
    const { desk } = fanout();
    await desk.create(request());
    await desk.reject(by("p3"), "o1", "");
    await expect(desk.accept(by("p3"), "o1")).rejects.toMatchObject({ kind: "conflict" });
    const won = await desk.accept(by("p1"), "o1");
    expect(await desk.accept(by("p1"), "o1")).toEqual(won);
    const loses = desk.accept(by("p2"), "o1");
    await expect(loses).rejects.toMatchObject({ kind: "conflict", message: "the offer is taken" });
    await expect(desk.accept(by("stranger"), "o1")).rejects.toMatchObject({ kind: "not_found" });
    await expect(desk.accept(by("p1"), "o2")).rejects.toMatchObject({ kind: "not_found" });
    await expect(desk.withdraw(NAME, "")).rejects.toMatchObject({ kind: "conflict" });

    const other = { app: "default", offerId: "o2" };
    await desk.create(request(other));
    await desk.withdraw(other, "");
    const message = "the offer is withdrawn";
    await expect(desk.accept(by("p2"), "o2")).rejects.toMatchObject({ kind: "conflict", message });
    await desk.withdraw(other, "");

    const late = { app: "default", offerId: "o3" };
    await desk.create(request(late));
    nowMs += 10_000;
    await expect(desk.accept(by("p2"), "o3")).rejects.toMatchObject({ kind: "expired" });
    await desk.withdraw(late, "");
  });
});

it("the sweep counts what is open", async () => {
  const { desk, sweep } = fanout();
  for (const offerId of ["o1", "o2", "o3"]) await desk.create(request({ offerId }));
  await desk.accept(by("p1"), "o2");
  await sweep.tick();
  expect(sweep.open).toBe(2);
});

describe("fencing numbers", () => {
  it("grow with each accept of a subject", async () => {
    const { desk } = fanout();
    const numbers: number[] = [];
    for (let index = 1; index <= 5; index++) {
      await desk.create(request({ offerId: `o${index}` }));
      numbers.push((await desk.accept(by("p1"), `o${index}`)).fencingNumber);
    }
    expect(numbers).toEqual([...numbers].sort((left, right) => left - right));
    expect(new Set(numbers).size).toBe(5);
  });
});

it("an offer whose event is read again is not made anew, however early it ended and however late it is", async () => {
  const { desk, delivery } = fanout();
  const made = request({ expiresAtMs: nowMs + 24 * 3_600_000 });
  await desk.create(made);
  await desk.accept(by("p1"), "o1");
  await delivery.settled();
  const outcomes = new Set<string>();
  for (let hours = 0; hours < 30; hours++) {
    outcomes.add(await desk.create(made));
    nowMs += 3_600_000;
  }
  expect([...outcomes]).toEqual(["repeated", "over"]);
  await delivery.settled();
  expect(allTold()).toMatchObject({ p1: ["open", "accepted"], p2: ["open", "taken"] });
});

it("an offer that is long over when it comes is not made", async () => {
  const { desk } = fanout();
  const expiresAtMs = nowMs - offers.retentionMs - 1;
  expect(await desk.create(request({ expiresAtMs }))).toBe("over");
  expect(await offers.view(NAME)).toBeUndefined();
  expect(await desk.create(request({ expiresAtMs: expiresAtMs + 2 }))).toBe("created");
});
