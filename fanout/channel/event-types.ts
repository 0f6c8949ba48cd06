/**
 * The delivery class of each event body: one table, readable at a glance. A class belongs to the body's
 * type, not to the channel. A body that is missing here cannot be published (a compile error).
 */
import type { Event } from "#proto/gen/realtime/client/v1/event.js";

export type EventBody = NonNullable<Event["body"]>;
export type EventType = EventBody["$case"];
export type DeliveryClassName = "durable" | "latest" | "ephemeral";

export interface EventTypeOptions {
  readonly deliveryClass: DeliveryClassName;
}

export const EVENT_TYPES: Readonly<Record<EventType, EventTypeOptions>> = {
  orderStatus: { deliveryClass: "durable" },
  rideStatus: { deliveryClass: "durable" },
  bookingUpdate: { deliveryClass: "durable" },
  location: { deliveryClass: "latest" },
  eta: { deliveryClass: "latest" },
  chatMessage: { deliveryClass: "durable" },
  chatEdited: { deliveryClass: "durable" },
  chatDeleted: { deliveryClass: "durable" },
  receipt: { deliveryClass: "durable" },
  typing: { deliveryClass: "ephemeral" },
  offer: { deliveryClass: "durable" },
  membership: { deliveryClass: "durable" },
  presence: { deliveryClass: "latest" },
  notification: { deliveryClass: "durable" },
  custom: { deliveryClass: "durable" },
};

/** What a latest value is the value of: one per worker, subject or user. */
export function conflationKey(body: EventBody): string {
  switch (body.$case) {
    case "location":
      return `location:${body.value.workerId}`;
    case "eta":
      return `eta:${body.value.subjectId}`;
    case "presence":
      return `presence:${body.value.userId}`;
    default:
      return body.$case;
  }
}

/** What a version counts the states of: the versions of two orders in one user's channel are not compared. */
export function versionSubject(body: EventBody): string {
  switch (body.$case) {
    case "orderStatus":
      return `orderStatus:${body.value.orderId}`;
    case "rideStatus":
      return `rideStatus:${body.value.rideId}`;
    case "bookingUpdate":
      return `bookingUpdate:${body.value.bookingId}`;
    default:
      return body.$case;
  }
}
