import { describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { EVENT_TYPES, type EventBody, type EventType } from "#fanout/channel/event-types.js";
import { checkEvent } from "./event-rules.js";
import { FieldCheck } from "./field-check.js";

const NOW_MS = 1_750_000_000_000;
const LONG = "x".repeat(129);

/** The least that each type needs. */
const BODIES: Readonly<Record<string, EventBody>> = Object.fromEntries(
  [
    Event.fromPartial({ body: { $case: "orderStatus", value: { orderId: "42", status: "new" } } }),
    Event.fromPartial({ body: { $case: "rideStatus", value: { rideId: "7", status: "new" } } }),
    Event.fromPartial({ body: { $case: "bookingUpdate", value: { bookingId: "b1", status: "new" } } }),
    Event.fromPartial({ body: { $case: "location", value: { workerId: "p1", measuredAtMs: NOW_MS } } }),
    Event.fromPartial({ body: { $case: "eta", value: { subjectId: "42" } } }),
    Event.fromPartial({ body: { $case: "notification", value: { notificationId: "n1" } } }),
    Event.fromPartial({ body: { $case: "custom", value: { type: "fare" } } }),
  ].flatMap(({ body }): [string, EventBody][] => (body === undefined ? [] : [[body.$case, body]])),
);

function errorOf(event: Parameters<typeof Event.fromPartial>[0], more: Partial<Event> = {}): unknown {
  try {
    checkEvent({ ...Event.fromPartial(event), ...more }, new FieldCheck("event"), NOW_MS);
    return undefined;
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return [error.kind, error.field];
  }
}

/** The least valid event of a type, with one part changed. */
function errorWith($case: EventType, value: Record<string, unknown>): unknown {
  const body = BODIES[$case];
  return errorOf({}, { body: { ...body, value: { ...body?.value, ...value } } as EventBody });
}

describe("the rules for events of services", () => {
  it.each(Object.keys(BODIES))("let %s through with the least that it needs", (name) => {
    expect(errorOf({}, { body: BODIES[name] })).toBeUndefined();
  });

  it("decide about every type of event", () => {
    for (const $case of Object.keys(EVENT_TYPES).filter((name) => !(name in BODIES))) {
      const [kind] = errorOf({}, { body: { $case, value: {} } as EventBody }) as [string];
      expect(["unsupported", "permission_denied"]).toContain(kind);
    }
  });

  it.each<[EventType, string, unknown, string]>([
    ["orderStatus", "orderId", "", "order_status.order_id"],
    ["orderStatus", "orderId", "a{b}", "order_status.order_id"],
    ["orderStatus", "status", "", "order_status.status"],
    ["orderStatus", "status", LONG, "order_status.status"],
    ["orderStatus", "previousStatus", "a\u0000", "order_status.previous_status"],
    ["orderStatus", "workerId", "a b", "order_status.worker_id"],
    ["orderStatus", "data", { a: [undefined] }, "order_status.data"],
    ["rideStatus", "rideId", "*", "ride_status.ride_id"],
    ["rideStatus", "workerId", ":", "ride_status.worker_id"],
    ["bookingUpdate", "bookingId", "", "booking_update.booking_id"],
    ["bookingUpdate", "status", "", "booking_update.status"],
    ["location", "workerId", "", "location.worker_id"],
    ["location", "latitude", 90.001, "location.latitude"],
    ["location", "latitude", -91, "location.latitude"],
    ["location", "latitude", Number.NaN, "location.latitude"],
    ["location", "longitude", 181, "location.longitude"],
    ["location", "longitude", Infinity, "location.longitude"],
    ["location", "heading", 361, "location.heading"],
    ["location", "speed", -1, "location.speed"],
    ["location", "accuracy", Number.NaN, "location.accuracy"],
    ["location", "measuredAtMs", 0, "location.measured_at_ms"],
    ["location", "measuredAtMs", NOW_MS + 3_600_000, "location.measured_at_ms"],
    ["location", "orderId", "a/b", "location.order_id"],
    ["eta", "subjectId", "", "eta.subject_id"],
    ["notification", "notificationId", "", "notification.notification_id"],
    ["notification", "title", "x".repeat(1_025), "notification.title"],
    ["custom", "type", "", "custom.type"],
    ["custom", "type", LONG, "custom.type"],
    ["custom", "data", { a: Number.NaN }, "custom.data"],
  ])("refuse %s with %s %j", ($case, field, value, path) => {
    expect(errorWith($case, { [field]: value })).toEqual(["invalid_argument", `event.${path}`]);
  });

  it.each<[string, Partial<Event>, string]>([
    ["an id of 129 characters", { id: LONG }, "event.id"],
    ["a time before 1970", { timeMs: -1 }, "event.time_ms"],
    ["a time an hour ahead", { timeMs: NOW_MS + 3_600_000 }, "event.time_ms"],
    ["a sender that is no id", { sender: { userId: "a b", role: "" } }, "event.sender.user_id"],
    ["a role that is no word", { sender: { userId: "u1", role: "a b" } }, "event.sender.role"],
    ["a correlation id with spaces", { correlationId: "a b" }, "event.correlation_id"],
    ["a trace context that is none", { traceparent: "00-00-00-00" }, "event.traceparent"],
  ])("refuse %s", (_, more, field) => {
    expect(errorOf({}, { body: BODIES["custom"], ...more })).toEqual(["invalid_argument", field]);
  });

  it("count characters, not UTF-16 units", () => {
    expect(errorWith("custom", { type: "🛵".repeat(128) })).toBeUndefined();
    expect(errorWith("custom", { type: "🛵".repeat(129) })).toEqual([
      "invalid_argument",
      "event.custom.type",
    ]);
  });

  it("let data be 32 levels deep and no deeper", () => {
    const nested = (depth: number): Record<string, unknown> => (depth === 1 ? {} : { a: nested(depth - 1) });
    expect(errorWith("custom", { data: nested(32) })).toBeUndefined();
    expect(errorWith("custom", { data: nested(33) })).toEqual(["invalid_argument", "event.custom.data"]);
  });

  it("never repeat what the caller wrote", () => {
    const secret = "secret value";
    expect(() =>
      checkEvent(
        Event.fromPartial({ body: { $case: "orderStatus", value: { orderId: secret } } }),
        new FieldCheck("event"),
        NOW_MS,
      ),
    ).toThrow(expect.objectContaining({ message: expect.not.stringContaining(secret) as string }) as Error);
  });
});
