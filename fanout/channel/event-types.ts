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
  receipt: { deliveryClass: "latest" },
  typing: { deliveryClass: "ephemeral" },
  offer: { deliveryClass: "durable" },
  membership: { deliveryClass: "ephemeral" },
  presence: { deliveryClass: "latest" },
  notification: { deliveryClass: "durable" },
  custom: { deliveryClass: "durable" },
  unread: { deliveryClass: "latest" },
  notificationsSeen: { deliveryClass: "latest" },
};

/** What a latest value is the value of: one per worker, subject, user or channel. */
export function conflationKey(body: EventBody): string {
  switch (body.$case) {
    case "location":
      return `location:${body.value.workerId}`;
    case "eta":
      return `eta:${body.value.subjectId}`;
    case "presence":
      return `presence:${body.value.userId}`;
    case "receipt": {
      const { userId, kind, upTo } = body.value;
      // One mark for each user and kind. Beside it stand all single messages together: each by itself would fill the
      // channel's room.
      return upTo ? `receipt:${kind}:${userId}` : `receipt:${kind}:${userId}:singles`;
    }
    case "unread":
      return `unread:${body.value.channel}`;
    case "notificationsSeen":
      return `notificationsSeen:${body.value.channel}`;
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
