import { describe, expect, it } from "vitest";
import type { CheckedEnvelope } from "./envelope.js";
import { UnreadableRecord } from "./event-source.js";
import { INCOMING_EVENTS, meaningOf, type Action } from "./incoming-events.js";

const NOW_MS = Date.parse("2026-02-17T10:30:00Z");
const OCCURRED_MS = NOW_MS - 1_000;
const WEEK_MS = 7 * 24 * 60 * 60_000;
const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

function envelope(type: string, data: Record<string, unknown>, more: Partial<CheckedEnvelope> = {}) {
  return {
    eventId: "e1",
    type,
    occurredAtMs: OCCURRED_MS,
    correlationId: "c1",
    traceparent: TRACEPARENT,
    app: "default",
    version: 0,
    data,
    ...more,
  };
}

function actionsOf(
  type: string,
  data: Record<string, unknown>,
  more: Partial<CheckedEnvelope> = {},
): readonly Action[] {
  const meaning = meaningOf(envelope(type, data, more), NOW_MS);
  if (meaning.outcome !== "actions")
    throw new Error(`actions were expected, the event was ${meaning.outcome}`);
  return meaning.actions;
}

/** What is done, in one line each. */
function summary(actions: readonly Action[]): string[] {
  return actions.map((action) => {
    switch (action.type) {
      case "grant": {
        const { userId, relation, channel } = action.participation;
        return `grant ${relation} ${userId} ${channel.key}`;
      }
      case "publish": {
        const value = action.event.body?.value;
        const status = value !== undefined && "status" in value ? ` ${value.status}` : "";
        return `publish ${action.event.body?.$case ?? "nothing"}${status} ${action.channel.key}`;
      }
      case "end":
        return `end ${action.userId} ${action.channel.key}`;
      case "offer":
        return `offer ${action.request.offerId} to ${action.request.candidates.join(" ")}`;
      case "withdrawOffer":
        return `withdraw offer ${action.offerId} ${action.reason}`;
      case "say": {
        const { channel, author, text } = action.message;
        return `say ${text.content} by ${author.userId} in ${channel.key}`;
      }
      case "endAll":
        return `endAll ${action.relation ?? "everybody"} ${action.channel.key}`;
    }
  });
}

const order = { orderId: "42" };

describe("meaningOf", () => {
  it.each<[string, Record<string, unknown>, string[]]>([
    [
      "order.created",
      { ...order, customerId: "u1" },
      ["grant owner u1 default/order:42", "publish orderStatus created default/order:42"],
    ],
    [
      "order.assigned",
      { ...order, porterId: "p1" },
      ["grant assigned p1 default/order:42", "publish orderStatus assigned default/order:42"],
    ],
    [
      "order.assigned",
      { ...order, porterId: "p2", previousPorterId: "p1" },
      [
        "grant assigned p2 default/order:42",
        "publish orderStatus assigned default/order:42",
        "end p1 default/order:42",
      ],
    ],
    [
      "order.assigned",
      { ...order, porterId: "p1", previousPorterId: "p1" },
      ["grant assigned p1 default/order:42", "publish orderStatus assigned default/order:42"],
    ],
    ["job.offer.created", { ...order, offerId: "o1", porterIds: ["p1", 2], fare: 9.5 }, ["offer o1 to p1 2"]],
    ["job.offer.withdrawn", { offerId: "o1", reason: "sold out" }, ["withdraw offer o1 sold out"]],
    [
      "order.unassigned",
      { ...order, porterId: "p1" },
      ["publish orderStatus unassigned default/order:42", "end p1 default/order:42"],
    ],
    [
      "order.status.changed",
      { ...order, status: "picked_up" },
      ["publish orderStatus picked_up default/order:42"],
    ],
    [
      "order.status.changed",
      { ...order, status: "delivered" },
      ["publish orderStatus delivered default/order:42", "endAll assigned default/order:42"],
    ],
    [
      "order.delivered",
      order,
      ["publish orderStatus delivered default/order:42", "endAll assigned default/order:42"],
    ],
    [
      "order.completed",
      order,
      ["publish orderStatus completed default/order:42", "endAll assigned default/order:42"],
    ],
    [
      "order.cancelled",
      { ...order, status: "cancelled_by_customer" },
      ["publish orderStatus cancelled_by_customer default/order:42", "endAll assigned default/order:42"],
    ],
    [
      "ride.created",
      { rideId: "7", riderId: "u1" },
      ["grant owner u1 default/ride:7", "publish rideStatus created default/ride:7"],
    ],
    [
      "ride.assigned",
      { rideId: "7", driverId: "d1" },
      ["grant assigned d1 default/ride:7", "publish rideStatus assigned default/ride:7"],
    ],
    [
      "ride.unassigned",
      { rideId: "7", driverId: "d1" },
      ["publish rideStatus unassigned default/ride:7", "end d1 default/ride:7"],
    ],
    [
      "ride.status.changed",
      { rideId: "7", status: "driver_arrived" },
      ["publish rideStatus driver_arrived default/ride:7"],
    ],
    [
      "ride.completed",
      { rideId: "7" },
      ["publish rideStatus completed default/ride:7", "endAll assigned default/ride:7"],
    ],
    [
      "ride.cancelled",
      { rideId: "7" },
      ["publish rideStatus cancelled default/ride:7", "endAll assigned default/ride:7"],
    ],
    [
      "booking.confirmed",
      { bookingId: "b1", userId: "u1" },
      [
        "grant owner u1 default/booking:b1",
        "publish bookingUpdate confirmed default/booking:b1",
        "publish bookingUpdate confirmed default/user:u1",
      ],
    ],
    [
      "booking.changed",
      { bookingId: "b1", userId: "u1", status: "paid" },
      [
        "grant owner u1 default/booking:b1",
        "publish bookingUpdate paid default/booking:b1",
        "publish bookingUpdate paid default/user:u1",
      ],
    ],
    ["notification.created", { userId: "u1", title: "Hello" }, ["publish notification default/user:u1"]],
    [
      "notification.created",
      { channel: "order:42", title: "Hello" },
      ["publish notification default/order:42"],
    ],
    ["notification.created", { role: "porter" }, ["publish notification default/role:porter"]],
    ["notification.created", { everyone: true }, ["publish notification default/everyone:all"]],
  ])("%s of %j is done in this order", (type, data, wanted) => {
    expect(summary(actionsOf(type, data))).toEqual(wanted);
  });

  it("covers every type of the table", () => {
    for (const type of INCOMING_EVENTS.keys()) {
      expect(meaningOf(envelope(type.replace("*", "x"), everyField), NOW_MS).outcome).not.toBe("unknown");
    }
  });

  it("passes the envelope's id, time, correlation id, trace and app on", () => {
    const [action] = actionsOf("order.status.changed", { ...order, status: "ready" }, { app: "food" });
    expect(action).toMatchObject({
      type: "publish",
      channel: { key: "food/order:42" },
      event: {
        id: "e1",
        timeMs: OCCURRED_MS,
        correlationId: "c1",
        traceparent: TRACEPARENT,
        channel: "order:42",
      },
    });
    expect(action).not.toHaveProperty("version");
  });

  it("gives states of orders the envelope's version, but not bookings", () => {
    const versioned = { version: 3 };
    expect(actionsOf("order.delivered", order, versioned)[0]).toMatchObject({ version: 3 });
    const booking = actionsOf("booking.confirmed", { bookingId: "b1", userId: "u1" }, versioned);
    for (const action of booking) expect(action).not.toHaveProperty("version");
  });

  it("types the fields that it knows and passes the rest on as it is", () => {
    const data = {
      ...order,
      status: "picked_up",
      previousStatus: "ready",
      porterId: "p1",
      message: "On the way",
      etaMinutes: 7,
    };
    const [action] = actionsOf("order.status.changed", data);
    expect(action).toMatchObject({
      event: {
        body: {
          $case: "orderStatus",
          value: {
            orderId: "42",
            status: "picked_up",
            previousStatus: "ready",
            workerId: "p1",
            message: "On the way",
            data: { etaMinutes: 7 },
          },
        },
      },
    });
  });

  it.each([
    [{ restaurantId: "r1" }, "merchant:r1"],
    [{ merchantId: 7 }, "merchant:7"],
    [{ restaurantId: "r:1" }, undefined],
    [{ restaurantId: {} }, undefined],
  ])("lets the restaurant of an order take part, and passes it on: %j", (merchant, party) => {
    const [owner, part, ...more] = actionsOf("order.created", { ...order, customerId: "u1", ...merchant });
    const published = party === undefined ? part : more[0];
    expect(owner).toMatchObject({ participation: { userId: "u1" } });
    if (party !== undefined) {
      expect(part).toMatchObject({ participation: { userId: party, relation: "merchant" } });
    }
    expect(published).toMatchObject({ type: "publish", event: { body: { value: { data: merchant } } } });
  });

  it("takes whole numbers for ids", () => {
    expect(summary(actionsOf("order.created", { orderId: 42, customerId: 7 }))[0]).toBe(
      "grant owner 7 default/order:42",
    );
  });

  it("counts a part from when it happened, never from the future, and from now where nobody said", () => {
    const expiries = [OCCURRED_MS, NOW_MS + 5_000, 0].map((occurredAtMs) => {
      const [action] = actionsOf("order.created", { ...order, customerId: "u1" }, { occurredAtMs });
      return action?.type === "grant" ? action.participation.expiresAtMs - WEEK_MS : undefined;
    });
    expect(expiries).toEqual([OCCURRED_MS, NOW_MS, NOW_MS]);
  });

  it("uses the event's id for a notification without its own", () => {
    const [action] = actionsOf("notification.created", { userId: "u1" });
    expect(action).toMatchObject({ event: { body: { value: { notificationId: "e1" } } } });
  });

  it("tells a booking's followers and its user of one event, by one id", () => {
    const actions = actionsOf("booking.confirmed", { bookingId: "b1", userId: "u1" });
    const ids = actions.flatMap((action) => (action.type === "publish" ? [action.event.id] : []));
    expect(ids).toEqual(["e1", "e1"]);
  });

  it.each<[Record<string, unknown>, number, number]>([
    [{}, OCCURRED_MS, 0],
    [{ ttlMs: 60_000 }, OCCURRED_MS, OCCURRED_MS + 60_000],
    [{ ttlMs: 60_000 }, 0, NOW_MS + 60_000],
    [{ ttlMs: 60_000 }, NOW_MS + 5_000, NOW_MS + 60_000],
    [{ ttlMs: 60_000, expiresAtMs: NOW_MS + 7 }, OCCURRED_MS, NOW_MS + 7],
  ])("ends a notification with %j that occurred at %d at %d", (data, occurredAtMs, expiresAtMs) => {
    const [action] = actionsOf("notification.created", { userId: "u1", ...data }, { occurredAtMs });
    expect(action).toMatchObject({ event: { body: { value: { expiresAtMs } } } });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ["notification.created", { role: "porter", userId: "u1" }, "data.role and data.everyone stand alone"],
    ["notification.created", { role: "porter", everyone: true }, "data.role and data.everyone stand alone"],
    [
      "notification.created",
      { everyone: true, channel: "order:1" },
      "data.role and data.everyone stand alone",
    ],
    ["notification.created", { everyone: "yes" }, "data.everyone must be true or false"],
    ["notification.created", { everyone: false }, "data.userId must be given"],
    ["notification.created", { role: "a b" }, "data.role must be 1 to 128"],
    ["notification.created", { userId: "u1", ttlMs: -1 }, "data.ttlMs must be a whole number"],
    ["notification.created", { userId: "u1", ttlMs: 1e12 }, "data.ttlMs must be a whole number"],
    ["order.created", { customerId: "u1" }, "data.orderId must be given"],
    ["order.created", order, "data.customerId must be given"],
    ["order.created", { orderId: "4:2", customerId: "u1" }, "data.orderId must be 1 to 128"],
    ["order.created", { orderId: "{42}", customerId: "u1" }, "data.orderId must be 1 to 128"],
    ["order.created", { orderId: "x".repeat(129), customerId: "u1" }, "data.orderId must be 1 to 128"],
    ["order.created", { orderId: ["42"], customerId: "u1" }, "data.orderId must be 1 to 128"],
    ["order.created", { orderId: 1.5, customerId: "u1" }, "data.orderId must be 1 to 128"],
    ["order.assigned", order, "data.porterId or deliveryPartnerId"],
    ["order.status.changed", order, "data.status must be given"],
    ["order.status.changed", { ...order, status: 5 }, "data.status must be a string"],
    ["order.status.changed", { ...order, status: "x".repeat(65) }, "data.status must be a string of 64"],
    ["order.status.changed", { ...order, status: "s", message: {} }, "data.message must be a string"],
    ["booking.confirmed", { bookingId: "b1" }, "data.userId must be given"],
    ["notification.created", { title: "x" }, "data.userId must be given"],
    ["notification.created", { channel: "nobody:1" }, "data.channel must be kind:id"],
    ["notification.created", { channel: "order:{1}" }, "data.channel must be kind:id"],
    ["notification.created", { userId: "u1", data: [] }, "data.data must be an object"],
  ])("%s of %j is unreadable", (type, data, reason) => {
    expect(() => meaningOf(envelope(type, data), NOW_MS)).toThrow(UnreadableRecord);
    expect(() => meaningOf(envelope(type, data), NOW_MS)).toThrow(reason);
  });

  it("ignores what porters say of themselves, and does not know other types", () => {
    expect(meaningOf(envelope("porter.availability.changed", {}), NOW_MS).outcome).toBe("ignored");
    for (const type of ["message.read", "order", "order.", "constructor", "toString"]) {
      expect(meaningOf(envelope(type, {}), NOW_MS).outcome).toBe("unknown");
    }
  });
});

const everyField = {
  etaSeconds: 420,
  content: "hello",
  orderId: "42",
  rideId: "7",
  bookingId: "b1",
  customerId: "u1",
  riderId: "u1",
  userId: "u1",
  porterId: "p1",
  driverId: "d1",
  status: "s",
  offerId: "o1",
  porterIds: ["p1"],
};

describe("an offer", () => {
  const data = { ...order, offerId: "o1", driverIds: ["d1", "d2"], fare: 9.5 };
  function offered(more: Record<string, unknown>, occurredAtMs = 0) {
    const [action] = actionsOf("job.offer.created", { ...data, ...more }, { occurredAtMs });
    if (action?.type !== "offer") throw new Error("an offer was expected");
    return action.request;
  }

  it("has what is not known of it as its data, and counts its time from when it happened", () => {
    expect(offered({})).toMatchObject({
      offerId: "o1",
      subjectId: "42",
      mode: "all_at_once",
      candidates: ["d1", "d2"],
      data: { fare: 9.5 },
      expiresAtMs: NOW_MS + 30_000,
    });
    expect(offered({}, NOW_MS - 10_000).expiresAtMs).toBe(NOW_MS + 20_000);
    expect(offered({}, NOW_MS + 10_000).expiresAtMs).toBe(NOW_MS + 30_000);
    expect(offered({ timeLimitMs: 5_000 }).expiresAtMs).toBe(NOW_MS + 5_000);
    expect(offered({ mode: "one_by_one" }).expiresAtMs).toBe(NOW_MS + 30_000);
    expect(offered({ mode: "one_by_one", candidateTimeLimitMs: 60_000 }).expiresAtMs).toBe(NOW_MS + 120_000);
    expect(offered({ expiresAtMs: NOW_MS + 7_000 }).expiresAtMs).toBe(NOW_MS + 7_000);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ["without an id", { offerId: null }, "data.offerId"],
    ["without a subject", { orderId: null }, "data.subjectId or orderId or rideId"],
    ["to nobody", { driverIds: [] }, "data.driverIds"],
    ["to what is no list", { driverIds: "d1" }, "data.driverIds"],
    ["to what is no user", { driverIds: ["d 1"] }, "data.driverIds"],
    ["to too many", { driverIds: Array.from({ length: 101 }, (_, index) => index) }, "data.driverIds"],
    ["to one twice", { driverIds: ["d1", "d1"] }, "data.candidateIds"],
    ["in no known mode", { mode: "auction" }, "data.mode"],
    ["for a moment", { timeLimitMs: 5 }, "data.timeLimitMs"],
    ["for ever", { timeLimitMs: 1e12 }, "data.timeLimitMs"],
    ["with half a millisecond", { candidateTimeLimitMs: 1500.5 }, "data.candidateTimeLimitMs"],
    ["that is too large", { text: "x".repeat(20_000) }, "data.data"],
  ])("%s is unreadable", (_, more, reason) => {
    expect(() => offered(more)).toThrow(reason);
  });
});
