import { beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import type { PublishRequest, PublishResult } from "#fanout/channel/publisher.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { MessageToSend, Stored } from "#fanout/chat/chat.js";
import type { Participation } from "#fanout/directory/directory.js";
import type { OfferName } from "#fanout/offer/offer.js";
import type { OfferRequest } from "#fanout/offer/offer-request.js";
import { EventConsumer } from "./event-consumer.js";
import { UnreadableRecord, type SourceRecord } from "./event-source.js";

const NOW_MS = Date.parse("2026-02-17T10:30:00Z");

/** What the consumer did, in order; failures are put in front of a step. */
class Stores {
  readonly steps: string[] = [];
  readonly requests: PublishRequest[] = [];
  readonly parts = new Map<string, Participation>();
  readonly failures = new Map<string, Error[]>();
  outcome: PublishResult["outcome"] = "published";

  readonly publisher = {
    publish: async (request: PublishRequest): Promise<PublishResult> => {
      this.#step("publish");
      this.requests.push(request);
      return Promise.resolve({ outcome: this.outcome, eventId: request.event.id, timeMs: NOW_MS });
    },
  };
  readonly participations = {
    grant: async (participation: Participation): Promise<void> => {
      this.#step(`grant ${participation.userId}`);
      this.parts.set(participation.userId, participation);
      return Promise.resolve();
    },
    end: async (_channel: Channel, userId: string): Promise<void> => {
      this.#step(`end ${userId}`);
      this.parts.delete(userId);
      return Promise.resolve();
    },
    endAll: async (): Promise<void> => {
      this.#step("endAll");
      this.parts.clear();
      return Promise.resolve();
    },
  };
  readonly directory = {
    participants: async (): Promise<readonly Participation[]> => Promise.resolve([...this.parts.values()]),
  };
  readonly offers = {
    create: async ({ offerId }: OfferRequest): Promise<"created"> => {
      this.#step(`offer ${offerId}`);
      return Promise.resolve("created");
    },
    withdraw: async ({ offerId }: OfferName, reason: string): Promise<void> => {
      this.#step(`withdraw ${offerId} ${reason}`);
      return Promise.resolve();
    },
  };

  readonly chat = {
    say: async ({ text, sourceMark }: MessageToSend): Promise<Stored> => {
      this.#step(`say ${text.content} at ${sourceMark?.offset ?? "nowhere"}`);
      const position = { epoch: "e", offset: 1, tag: 1 };
      return Promise.resolve({ outcome: "repeated", messageId: "", number: 0, position, timeMs: NOW_MS });
    },
  };

  #step(name: string): void {
    const failure = this.failures.get(name)?.shift();
    if (failure) throw failure;
    this.steps.push(name);
  }
}

const debug = vi.fn();
const logger = { debug, info: vi.fn(), warn: vi.fn(), error: vi.fn() };

describe("EventConsumer", () => {
  let stores: Stores;
  let consumer: EventConsumer;

  beforeEach(() => {
    debug.mockClear();
    stores = new Stores();
    const { publisher, participations, directory, offers, chat } = stores;
    consumer = new EventConsumer({
      ...{ publisher, participations, directory, offers, chat, logger },
      now: () => NOW_MS,
    });
  });

  function record(value: unknown, headers: Record<string, string> = {}, offset = 17): SourceRecord {
    const encoded = Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
    return { topic: "order-events", partition: 3, offset, key: "42", value: encoded, headers };
  }

  function order(type: string, data: object = {}, more: object = {}): SourceRecord {
    return record({
      eventId: `id of ${type}`.replaceAll(" ", "-"),
      type,
      data: { orderId: "42", ...data },
      ...more,
    });
  }

  it("takes no record whose event would be larger than a record may be, and does nothing of it", async () => {
    // Two bytes each as JSON, eleven in the event.
    const fares = Array.from({ length: 30_000 }, () => 1);
    const booking = { eventId: "e1", type: "booking.confirmed" };
    const large = { ...booking, data: { bookingId: "b1", userId: "u1", fares } };
    await expect(consumer.handle(record(large)).run()).rejects.toThrow(
      new UnreadableRecord("an event has at most 262144 bytes"),
    );
    expect(stores.steps).toEqual([]);
    const text = { ...booking, data: { bookingId: "b1", userId: "u1", text: "x".repeat(200_000) } };
    await consumer.handle(record(text)).run();
    expect(stores.steps).toEqual(["grant u1", "publish", "publish"]);
  });

  it("grants a part before it tells of it, and ends one after", async () => {
    await consumer.handle(order("order.created", { customerId: "u1" })).run();
    await consumer.handle(order("order.assigned", { porterId: "p1" })).run();
    await consumer.handle(order("order.unassigned", { porterId: "p1" })).run();
    expect(stores.steps).toEqual(["grant u1", "publish", "grant p1", "publish", "publish", "end p1"]);
    expect(consumer.counters).toMatchObject({ consumed: 3, published: 3 });
  });

  it("ends the workers' parts when an order is over, and leaves the customer theirs", async () => {
    await consumer.handle(order("order.created", { customerId: "u1" })).run();
    await consumer.handle(order("order.assigned", { porterId: "p1" })).run();
    await consumer.handle(order("order.completed")).run();
    expect([...stores.parts.keys()]).toEqual(["u1"]);
  });

  it("publishes with the event's id as key, and where it was read from", async () => {
    await consumer.handle(order("order.status.changed", { status: "ready" }, { version: 5 })).run();
    expect(stores.requests[0]).toMatchObject({
      idempotencyKey: "id-of-order.status.changed",
      version: 5,
      sourceMark: { source: "order-events-3", offset: 17, index: 0 },
      channel: { key: "default/order:42" },
    });
  });

  it("does a repeat that follows soon no second time, but the same id of another app", async () => {
    const event = order("order.status.changed", { status: "ready" });
    await consumer.handle(event).run();
    await consumer.handle(event).run();
    expect(stores.requests).toHaveLength(1);
    expect(consumer.counters).toMatchObject({ consumed: 2, published: 1, repeated: 1 });
    await consumer.handle(order("order.status.changed", { status: "ready" }, { app: "food" })).run();
    expect(stores.requests).toHaveLength(2);
  });

  it("counts what the channel knew already", async () => {
    stores.outcome = "repeated";
    await consumer.handle(order("order.delivered")).run();
    expect(consumer.counters).toMatchObject({ consumed: 1, published: 0, repeated: 1 });
  });

  it("does not bring back a part by a version that is older than what is known", async () => {
    stores.outcome = "stale";
    await consumer.handle(order("order.assigned", { porterId: "p1" }, { version: 3 })).run();
    expect(stores.steps).toEqual(["publish"]);
    expect(consumer.counters).toMatchObject({ consumed: 1, stale: 1 });
  });

  it("lets the owner in although the status is older than what is known", async () => {
    stores.outcome = "stale";
    await consumer.handle(order("order.created", { customerId: "c1" }, { version: 1 })).run();
    expect(stores.steps).toEqual(["publish", "grant c1"]);
  });

  it.each(["unavailable", "internal"] as const)("lets a failure that is %s be tried again", async (kind) => {
    const failure = new GatewayError(kind, "the store is away");
    stores.failures.set("publish", [failure]);
    const event = order("order.created", { customerId: "u1" });
    await expect(consumer.handle(event).run()).rejects.toBe(failure);
    expect(consumer.counters).toMatchObject({ consumed: 0, unreadable: 0 });
    await consumer.handle(event).run();
    expect(stores.steps).toEqual(["grant u1", "grant u1", "publish"]);
    expect(consumer.counters).toMatchObject({ consumed: 1, published: 1, repeated: 0 });
  });

  it("lets an unexpected failure of a store be tried again", async () => {
    stores.failures.set("grant u1", [new TypeError("boom")]);
    await expect(consumer.handle(order("order.created", { customerId: "u1" })).run()).rejects.toThrow("boom");
  });

  it.each(["invalid_argument", "not_found"] as const)(
    "calls an event unreadable that is %s",
    async (kind) => {
      stores.failures.set("publish", [new GatewayError(kind, "no such thing")]);
      const handled = consumer.handle(order("order.delivered")).run();
      await expect(handled).rejects.toBeInstanceOf(UnreadableRecord);
      expect(consumer.counters).toMatchObject({ consumed: 0, unreadable: 1 });
    },
  );

  it("calls what is no envelope, and what misses a field, unreadable", async () => {
    await expect(consumer.handle(record("{")).run()).rejects.toBeInstanceOf(UnreadableRecord);
    await expect(consumer.handle(order("order.created")).run()).rejects.toThrow(
      "data.customerId must be given",
    );
    expect(consumer.counters.unreadable).toBe(2);
    expect(stores.steps).toEqual([]);
  });

  it("ignores and counts unknown types, and ignores known ones that mean nothing here", async () => {
    await consumer.handle(order("message.read")).run();
    await consumer.handle(order("porter.availability.changed")).run();
    expect(stores.steps).toEqual([]);
    expect(consumer.counters).toMatchObject({ consumed: 2, unknownType: 1 });
    expect(debug).toHaveBeenCalledOnce();
  });

  it("has a message said under the mark of its place", async () => {
    const said = { senderId: "u1", recipientId: "u2", content: "hello" };
    await consumer.handle(record({ eventId: "e1", type: "message.sent", data: said })).run();
    expect(stores.steps).toEqual(["say hello at 17"]);
    expect(consumer.counters).toMatchObject({ consumed: 1, repeated: 1 });
  });

  it("skips the gateway's own records without reading them", async () => {
    await consumer.handle(record("not even JSON", { source: "realtime-gateway" })).run();
    expect(consumer.counters).toMatchObject({ own: 1, consumed: 0, unreadable: 0 });
  });

  describe("an offer", () => {
    const made = order("job.offer.created", { offerId: "o1", porterIds: ["p1"] });

    it("is made, and withdrawn", async () => {
      await consumer.handle(made).run();
      await consumer.handle(order("job.offer.withdrawn", { offerId: "o1", reason: "late" })).run();
      expect(stores.steps).toEqual(["offer o1", "withdraw o1 late"]);
      expect(consumer.counters).toMatchObject({ consumed: 2, published: 1 });
    });

    it("under another one's id is unreadable; what is away is tried again", async () => {
      const away = new GatewayError("unavailable", "the store is away");
      stores.failures.set("offer o1", [away, new GatewayError("conflict", "another offer")]);
      await expect(consumer.handle(made).run()).rejects.toBe(away);
      await expect(consumer.handle(made).run()).rejects.toThrow("data.offerId is another offer's");
      expect(consumer.counters).toMatchObject({ consumed: 0, unreadable: 1 });
    });

    it.each(["conflict", "not_found"] as const)("that is over (%s) needs no withdrawing", async (kind) => {
      stores.failures.set("withdraw o1 ", [new GatewayError(kind, "over")]);
      await consumer.handle(order("job.offer.withdrawn", { offerId: "o1" })).run();
      expect(consumer.counters).toMatchObject({ consumed: 1, unreadable: 0 });
    });
  });

  it("lets nothing overtake what is about the same channel or offer, or has the same key or event id", () => {
    const ofKey = (key: string, read: SourceRecord): readonly string[] =>
      consumer.handle({ ...read, key }).touches;
    const inCommon = (one: readonly string[], other: readonly string[]): readonly string[] =>
      one.filter((thing) => other.includes(thing));

    const assigned = ofKey("k1", order("order.assigned", { porterId: "p1" }));
    const sameOrder = ofKey("k2", order("order.delivered"));
    expect(new Set(inCommon(assigned, sameOrder))).toEqual(new Set(["default/order:42"]));
    const sameKey = ofKey("k1", order("order.delivered", { orderId: "43" }));
    expect(inCommon(assigned, sameKey)).toEqual(["key k1"]);
    const other = ofKey("k2", order("order.delivered", { orderId: "43" }));
    expect(inCommon(assigned, other)).toEqual([]);
    const repeated = ofKey("k3", order("order.assigned", { orderId: "44", porterId: "p1" }));
    expect(inCommon(assigned, repeated)).toEqual(["event default/id-of-order.assigned"]);
    const offered = ofKey("k1", order("job.offer.created", { offerId: "o1", porterIds: ["p1"] }));
    const withdrawn = ofKey("k2", order("job.offer.withdrawn", { offerId: "o1" }));
    expect(inCommon(offered, withdrawn)).toEqual(["offer default/o1"]);
    expect(ofKey("k1", record("{"))).toEqual(["key k1"]);
  });
});
