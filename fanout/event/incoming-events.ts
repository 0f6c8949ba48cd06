/**
 * What events of other services mean here: a pure mapping of an envelope to what is to be done. One table
 * from types to meanings, which `docs/events.md` describes field by field (a test holds one against
 * the other). Doing it is left to `event-consumer.ts`.
 */
import type { Eta, Event } from "#proto/gen/realtime/client/v1/event.js";
import { GatewayError } from "#proto/errors.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { everyoneChannel, roleChannel } from "#fanout/notification/broadcast-channels.js";
import { channelOf, parseChannelName, userChannel, type Channel } from "#fanout/channel/channel.js";
import type { EventBody } from "#fanout/channel/event-types.js";
import type { MessageToSend } from "#fanout/chat/chat.js";
import type { Participation, Relation } from "#fanout/directory/directory.js";
import { merchantParty } from "#fanout/directory/merchant-party.js";
import type { OfferRequest } from "#fanout/offer/offer-request.js";
import { MAX_TIME_TO_LIVE_MS } from "#fanout/notification/notification-expiry.js";
import type { CheckedEnvelope } from "./envelope.js";
import { EventFields } from "./event-fields.js";
import { UnreadableRecord } from "./event-source.js";
import { offerOf } from "./incoming-offers.js";
import { messageOf } from "./incoming-messages.js";

/** One thing to do. They are listed in the order in which they must be done. */
export type Action =
  | { readonly type: "grant"; readonly participation: Participation }
  | { readonly type: "publish"; readonly channel: Channel; readonly event: Event; readonly version?: number }
  | { readonly type: "end"; readonly channel: Channel; readonly userId: string }
  | { readonly type: "offer"; readonly request: OfferRequest }
  | { readonly type: "say"; readonly message: MessageToSend }
  | {
      readonly type: "withdrawOffer";
      readonly app: string;
      readonly offerId: string;
      readonly reason: string;
    }
  /** Ends everybody's part, or that of all with this relation. */
  | { readonly type: "endAll"; readonly channel: Channel; readonly relation?: Relation };

export type Meaning =
  | { readonly outcome: "actions"; readonly actions: readonly Action[] }
  /** Known, and nothing to be done. */
  | { readonly outcome: "ignored" }
  | { readonly outcome: "unknown" };

interface Incoming {
  readonly envelope: CheckedEnvelope;
  readonly fields: EventFields;
  readonly nowMs: number;
}

type Mapping = (incoming: Incoming) => readonly Action[];

/** A subject that somebody owns and somebody works on. */
interface Subject {
  readonly kind: "order" | "ride";
  readonly idField: string;
  readonly ownerFields: [string, ...string[]];
  readonly workerFields: [string, ...string[]];
  /** Whose restaurant or shop it is of. */
  readonly merchantFields: readonly string[];
}

const ORDER: Subject = {
  kind: "order",
  idField: "orderId",
  ownerFields: ["customerId"],
  workerFields: ["porterId", "deliveryPartnerId", "driverId", "workerId"],
  merchantFields: ["restaurantId", "merchantId"],
};

const RIDE: Subject = {
  kind: "ride",
  idField: "rideId",
  ownerFields: ["riderId", "customerId"],
  workerFields: ["driverId", "workerId"],
  merchantFields: [],
};

const UINT32 = { from: 0, to: 2 ** 32 - 1 };

/** After these the worker's part is over; the owner may look on until their part expires. */
const FINAL_STATUSES: ReadonlySet<string> = new Set(["completed", "delivered", "cancelled", "canceled"]);

/** A name that ends in `.*` holds for all types that begin so and are not listed themselves. */
export const INCOMING_EVENTS: ReadonlyMap<string, Mapping | "ignored"> = new Map<string, Mapping | "ignored">(
  [
    ["order.created", created(ORDER)],
    ["order.assigned", assigned(ORDER)],
    ["order.unassigned", unassigned(ORDER)],
    ["order.status.changed", statusChanged(ORDER)],
    ["order.eta.updated", etaUpdated(ORDER)],
    ["order.delivered", statusChanged(ORDER, "delivered")],
    ["order.completed", statusChanged(ORDER, "completed")],
    ["order.cancelled", statusChanged(ORDER, "cancelled")],
    ["ride.created", created(RIDE)],
    ["ride.assigned", assigned(RIDE)],
    ["ride.unassigned", unassigned(RIDE)],
    ["ride.status.changed", statusChanged(RIDE)],
    ["ride.eta.updated", etaUpdated(RIDE)],
    ["ride.completed", statusChanged(RIDE, "completed")],
    ["ride.cancelled", statusChanged(RIDE, "cancelled")],
    ["job.offer.created", offerCreated],
    ["job.offer.withdrawn", offerWithdrawn],
    ["message.sent", messageSent],
    ["booking.*", bookingChanged],
    ["notification.created", notificationCreated],
    ["porter.*", "ignored"],
  ],
);

/** @throws UnreadableRecord where fields of a known type are missing or wrong. */
export function meaningOf(envelope: CheckedEnvelope, nowMs: number): Meaning {
  const prefix = envelope.type.slice(0, envelope.type.indexOf(".") + 1);
  const mapping = INCOMING_EVENTS.get(envelope.type) ?? INCOMING_EVENTS.get(`${prefix}*`);
  if (mapping === undefined) return { outcome: "unknown" };
  if (mapping === "ignored") return { outcome: "ignored" };
  const actions = mapping({ envelope, fields: new EventFields(envelope.data), nowMs });
  return { outcome: "actions", actions: numberEvents(actions, envelope.eventId) };
}

function created(subject: Subject): Mapping {
  return (incoming) => {
    const { fields } = incoming;
    const channel = subjectChannel(subject, incoming);
    const ownerId = fields.id(...subject.ownerFields);
    const merchantId = fields.idPassedOn(...subject.merchantFields);
    return [
      grant(incoming, channel, { userId: ownerId, relation: "owner" }),
      ...(merchantId === undefined
        ? []
        : [grant(incoming, channel, { userId: merchantParty(merchantId), relation: "merchant" })]),
      publishStatus(subject, incoming, { channel, status: fields.word("status", "created") }),
    ];
  };
}

function assigned(subject: Subject): Mapping {
  return (incoming) => {
    const { fields } = incoming;
    const channel = subjectChannel(subject, incoming);
    const workerId = fields.id(...subject.workerFields);
    const previousIds = subject.workerFields.map((name) => `previous${capitalised(name)}`);
    const previousId = fields.optionalId(...previousIds);
    return [
      grant(incoming, channel, { userId: workerId, relation: "assigned" }),
      publishStatus(subject, incoming, { channel, status: fields.word("status", "assigned"), workerId }),
      ...(previousId !== undefined && previousId !== workerId ? [end(channel, previousId)] : []),
    ];
  };
}

function unassigned(subject: Subject): Mapping {
  return (incoming) => {
    const { fields } = incoming;
    const channel = subjectChannel(subject, incoming);
    const workerId = fields.id(...subject.workerFields);
    return [
      publishStatus(subject, incoming, { channel, status: fields.word("status", "unassigned") }),
      end(channel, workerId),
    ];
  };
}

function statusChanged(subject: Subject, fallback?: string): Mapping {
  return (incoming) => {
    const { fields } = incoming;
    const channel = subjectChannel(subject, incoming);
    const workerId = fields.optionalId(...subject.workerFields);
    const status = fields.word("status", fallback);
    const isFinal = fallback !== undefined || FINAL_STATUSES.has(status.toLowerCase());
    return [
      publishStatus(subject, incoming, { channel, status, ...(workerId !== undefined && { workerId }) }),
      ...(isFinal ? [{ type: "endAll", channel, relation: "assigned" } as const] : []),
    ];
  };
}

/** The newest counts, by when it was said: reading old events again puts no older one in its place. */
function etaUpdated(subject: Subject): Mapping {
  return (incoming) => {
    const { envelope, fields, nowMs } = incoming;
    const channel = subjectChannel(subject, incoming);
    const value: Eta = { subjectId: channel.id, seconds: fields.requiredInteger("etaSeconds", UINT32) };
    const distanceMeters = fields.optionalInteger("distanceMeters", UINT32);
    if (distanceMeters !== undefined) value.distanceMeters = distanceMeters;
    const saidAtMs = Math.min(envelope.occurredAtMs, nowMs);
    return [publish(incoming, channel, { $case: "eta", value }, envelope.version || saidAtMs * 1000)];
  };
}

function bookingChanged(incoming: Incoming): readonly Action[] {
  const { envelope, fields } = incoming;
  const userId = fields.id("userId");
  const channel = channelOf(envelope.app, "booking", fields.id("bookingId"));
  const status = fields.word("status", envelope.type.slice("booking.".length));
  const value = { bookingId: channel.id, status, type: envelope.type, data: fields.rest() };
  const body = { $case: "bookingUpdate", value } as const;
  return [
    grant(incoming, channel, { userId, relation: "owner" }),
    publish(incoming, channel, body),
    // The user hears of it without asking, and finds it when they come back: the same event, under the same id.
    publish(incoming, userChannel(envelope.app, userId), body),
  ];
}

function messageSent(incoming: Incoming): readonly Action[] {
  const message = messageOf(incoming.envelope, incoming.fields);
  return message === undefined ? [] : [{ type: "say", message }];
}

function notificationCreated(incoming: Incoming): readonly Action[] {
  const { envelope, fields } = incoming;
  const channel = notifiedChannel(incoming);
  const value = {
    notificationId: fields.optionalId("notificationId") ?? envelope.eventId,
    type: fields.text("type"),
    title: fields.text("title"),
    message: fields.text("message"),
    data: fields.object("data"),
    expiresAtMs: notificationEnd(incoming),
  };
  return [publish(incoming, channel, { $case: "notification", value })];
}

/** What is meant for one must not reach many: beside a role or everyone no other target may stand. */
function notifiedChannel({ envelope, fields }: Incoming): Channel {
  const { app } = envelope;
  const channelName = fields.text("channel");
  const role = fields.optionalId("role");
  const isForEveryone = fields.flag("everyone");
  const userId = fields.optionalId("userId");
  const others = (role === undefined ? 0 : 1) + (isForEveryone ? 1 : 0);
  if (others > 1 || (others > 0 && (channelName !== "" || userId !== undefined))) {
    throw new UnreadableRecord("data.role and data.everyone stand alone: a notification has one target");
  }
  if (role !== undefined) return roleChannel(app, role);
  if (isForEveryone) return everyoneChannel(app);
  if (channelName !== "") return namedChannel(app, channelName);
  return userChannel(app, fields.id("userId"));
}

/** Counted from when it happened; 0: no end. */
function notificationEnd({ envelope, fields, nowMs }: Incoming): number {
  const ttlMs = fields.integer("ttlMs", { from: 0, to: MAX_TIME_TO_LIVE_MS });
  const untilMs = fields.integer("expiresAtMs", { from: 0, to: Number.MAX_SAFE_INTEGER });
  if (untilMs > 0 || ttlMs === 0) return untilMs;
  return (envelope.occurredAtMs === 0 ? nowMs : Math.min(envelope.occurredAtMs, nowMs)) + ttlMs;
}

function offerCreated({ envelope, fields, nowMs }: Incoming): readonly Action[] {
  return [{ type: "offer", request: offerOf(envelope, fields, nowMs) }];
}

function offerWithdrawn({ envelope, fields }: Incoming): readonly Action[] {
  const reason = fields.text("reason");
  return [{ type: "withdrawOffer", app: envelope.app, offerId: fields.id("offerId"), reason }];
}

function namedChannel(app: string, name: string): Channel {
  try {
    const channel = parseChannelName(app, name, "data.channel");
    if (CHANNEL_KINDS.has(channel.kind)) return channel;
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
  }
  throw new UnreadableRecord("data.channel must be kind:id, of a kind that exists");
}

function subjectChannel(subject: Subject, { envelope, fields }: Incoming): Channel {
  return channelOf(envelope.app, subject.kind, fields.id(subject.idField));
}

function publishStatus(
  subject: Subject,
  incoming: Incoming,
  state: { channel: Channel; status: string; workerId?: string },
): Action {
  const { fields } = incoming;
  const { channel, status } = state;
  const shared = { status, previousStatus: fields.text("previousStatus"), workerId: state.workerId ?? "" };
  if (subject.kind === "order") {
    const message = fields.text("message");
    const value = { orderId: channel.id, ...shared, message, data: fields.rest() };
    return publish(incoming, channel, { $case: "orderStatus", value }, incoming.envelope.version);
  }
  const value = { rideId: channel.id, ...shared, data: fields.rest() };
  return publish(incoming, channel, { $case: "rideStatus", value }, incoming.envelope.version);
}

/** A version orders the states of an order or ride. */
function publish({ envelope }: Incoming, channel: Channel, body: EventBody, version = 0): Action {
  const event: Event = {
    id: envelope.eventId,
    channel: channel.name,
    timeMs: envelope.occurredAtMs,
    correlationId: envelope.correlationId,
    traceparent: envelope.traceparent,
    body,
  };
  return { type: "publish", channel, event, ...(version > 0 && { version }) };
}

/** Parts count from when it happened, so that reading old events again grants nothing that is over. */
function grant(
  { envelope, nowMs }: Incoming,
  channel: Channel,
  who: { userId: string; relation: Relation },
): Action {
  const ttlMs = CHANNEL_KINDS.get(channel.kind)?.participationTtlMs ?? 0;
  const sinceMs = envelope.occurredAtMs === 0 ? nowMs : Math.min(envelope.occurredAtMs, nowMs);
  return { type: "grant", participation: { channel, ...who, expiresAtMs: sinceMs + ttlMs } };
}

function end(channel: Channel, userId: string): Action {
  return { type: "end", channel, userId };
}

/** The first event in a channel has the envelope's id; each further one there needs its own. */
function numberEvents(actions: readonly Action[], eventId: string): readonly Action[] {
  const counts = new Map<string, number>();
  return actions.map((action) => {
    if (action.type !== "publish") return action;
    const events = counts.get(action.channel.key) ?? 0;
    const id = events === 0 ? eventId : `${eventId}#${events}`;
    counts.set(action.channel.key, events + 1);
    return { ...action, event: { ...action.event, id } };
  });
}

function capitalised(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
