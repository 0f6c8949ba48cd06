/**
 * Which events a backend service may publish, and what each must hold. The gateway's own observations
 * (typing, membership, presence) are not a service's to tell. Chat, receipts and offers get ids, numbers
 * and states from the gateway, and have services of their own: here they are `unsupported`.
 */
import { GatewayError } from "#proto/errors.js";
import type {
  BookingUpdate,
  Eta,
  Event,
  Location,
  Notification,
} from "#proto/gen/realtime/client/v1/event.js";
import type { EventBody } from "#fanout/channel/event-types.js";
import { isCorrelationId, isTraceparent } from "./correlation.js";
import type { FieldCheck } from "./field-check.js";

const WORD_CHARACTERS = 128;
/** A line for people: longer texts are for `message`, which only the size of the event bounds. */
const TITLE_CHARACTERS = 1_024;
/** Clocks differ; a time further ahead is a fault of the caller. */
const MAX_AHEAD_MS = 5 * 60_000;

/** Checks all but the channel. @throws GatewayError with the field at fault. */
export function checkEvent(event: Event, check: FieldCheck, nowMs: number): void {
  if (event.body === undefined) check.fail("body", "an event needs a body that this gateway knows");
  check.optionalLine("id", event.id, WORD_CHARACTERS);
  check.range("time_ms", event.timeMs, { from: 0, to: nowMs + MAX_AHEAD_MS });
  if (event.sender !== undefined) {
    const sender = check.at("sender");
    sender.optionalIdentifier("user_id", event.sender.userId);
    sender.optionalIdentifier("role", event.sender.role);
  }
  if (event.correlationId !== "" && !isCorrelationId(event.correlationId)) {
    check.fail("correlation_id", "it has 1 to 128 of A-Z a-z 0-9 _ . : @ | + = / -");
  }
  if (event.traceparent !== "" && !isTraceparent(event.traceparent)) {
    check.fail("traceparent", "it is a W3C trace context: version-traceid-parentid-flags");
  }
  checkBody(event.body, check, nowMs);
}

function checkBody(body: EventBody, event: FieldCheck, nowMs: number): void {
  switch (body.$case) {
    case "orderStatus": {
      const check = event.at("order_status");
      check.identifier("order_id", body.value.orderId);
      checkStatus(body.value, check);
      return;
    }
    case "rideStatus": {
      const check = event.at("ride_status");
      check.identifier("ride_id", body.value.rideId);
      checkStatus(body.value, check);
      return;
    }
    case "bookingUpdate":
      checkBookingUpdate(body.value, event.at("booking_update"));
      return;
    case "location":
      checkLocation(body.value, event.at("location"), nowMs);
      return;
    case "eta":
      checkEta(body.value, event.at("eta"));
      return;
    case "notification":
      checkNotification(body.value, event.at("notification"));
      return;
    case "custom": {
      const check = event.at("custom");
      check.line("type", body.value.type, WORD_CHARACTERS);
      check.data("data", body.value.data);
      return;
    }
    case "chatMessage":
    case "chatEdited":
    case "chatDeleted":
    case "receipt":
    case "offer":
      throw new GatewayError("unsupported", "chat and offers have services of their own", {
        field: event.path,
      });
    case "typing":
    case "membership":
    case "presence":
    case "unread":
    case "notificationsSeen":
      throw new GatewayError("permission_denied", "only the gateway itself says this", { field: event.path });
  }
}

interface StatusChange {
  readonly status: string;
  readonly previousStatus: string;
  readonly workerId: string;
  readonly data?: Readonly<Record<string, unknown>> | undefined;
}

function checkStatus(change: StatusChange, check: FieldCheck): void {
  check.line("status", change.status, WORD_CHARACTERS);
  check.optionalLine("previous_status", change.previousStatus, WORD_CHARACTERS);
  check.optionalIdentifier("worker_id", change.workerId);
  check.data("data", change.data);
}

function checkBookingUpdate(update: BookingUpdate, check: FieldCheck): void {
  check.identifier("booking_id", update.bookingId);
  check.line("status", update.status, WORD_CHARACTERS);
  check.optionalLine("type", update.type, WORD_CHARACTERS);
  check.data("data", update.data);
}

function checkLocation(location: Location, check: FieldCheck, nowMs: number): void {
  check.identifier("worker_id", location.workerId);
  check.range("latitude", location.latitude, { from: -90, to: 90 });
  check.range("longitude", location.longitude, { from: -180, to: 180 });
  check.optionalRange("heading", location.heading, { from: 0, to: 360 });
  check.optionalRange("speed", location.speed, { from: 0, to: 1_000 });
  check.optionalRange("accuracy", location.accuracy, { from: 0, to: 1_000_000 });
  check.range("measured_at_ms", location.measuredAtMs, { from: 1, to: nowMs + MAX_AHEAD_MS });
  check.optionalIdentifier("order_id", location.orderId);
}

function checkEta(eta: Eta, check: FieldCheck): void {
  check.identifier("subject_id", eta.subjectId);
}

function checkNotification(notification: Notification, check: FieldCheck): void {
  check.identifier("notification_id", notification.notificationId);
  check.optionalLine("type", notification.type, WORD_CHARACTERS);
  check.optionalLine("title", notification.title, TITLE_CHARACTERS);
  check.data("data", notification.data);
  check.range("expires_at_ms", notification.expiresAtMs, { from: 0, to: Number.MAX_SAFE_INTEGER });
}
