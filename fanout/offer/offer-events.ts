/**
 * What is said of a change of an offer: to the workers whom it concerns (`OfferUpdate`, each on their own channel),
 * and to other services (an envelope of its own type on `offer-events`). Pure; both carry the same event id.
 */
import { encode } from "#proto/encode.js";
import { Event, OfferState, type OfferUpdate } from "#proto/gen/realtime/client/v1/event.js";
import {
  candidateState,
  changeEventId,
  type ChangeKind,
  type NewOffer,
  type OfferChange,
  type OfferName,
  type OfferView,
} from "./offer.js";

export const OFFER_TOPIC = "offer-events";

/** The types of events for other services. */
export const OFFER_EVENT_TYPES: readonly string[] = (
  ["open", "asked", "rejected", "passed", "accepted", "withdrawn", "expired"] satisfies ChangeKind[]
).map(typeOf);

/** One worker who is told of a change. */
export interface Telling {
  readonly userId: string;
  readonly state: OfferState;
}

export interface OfferFacts {
  readonly offerId: string;
  readonly subjectId: string;
  readonly data: OfferUpdate["data"];
  readonly correlationId: string;
  readonly traceparent: string;
}

/** What all events of an offer begin with. */
export function offerTemplate({ offerId, subjectId, data, ...traced }: OfferFacts): Uint8Array {
  const event = Event.fromPartial(traced);
  event.body = { $case: "offer", value: offerUpdate({ offerId, subjectId, data }) };
  return encode(Event, event);
}

/** Whom a change is told to, and as what. Who waits for their turn, or has said no, hears nothing more. */
export function tellingsOf(change: OfferChange, candidates: readonly string[]): readonly Telling[] {
  const { kind, userId, marks } = change;
  const asked = candidates.filter((_, index) => candidateState(marks, index) === "asked");
  const tell = (state: OfferState, ...users: readonly string[]): Telling[] =>
    users.map((each) => ({ userId: each, state }));
  switch (kind) {
    case "open":
      return tell(OfferState.OFFER_STATE_OPEN, ...asked);
    case "asked":
      return tell(OfferState.OFFER_STATE_OPEN, userId);
    case "rejected":
      return tell(OfferState.OFFER_STATE_REJECTED, userId);
    case "passed":
      return tell(OfferState.OFFER_STATE_EXPIRED, userId);
    case "accepted":
      return [
        ...tell(OfferState.OFFER_STATE_ACCEPTED, userId),
        ...tell(OfferState.OFFER_STATE_TAKEN, ...asked),
      ];
    case "withdrawn":
      return tell(OfferState.OFFER_STATE_WITHDRAWN, ...asked);
    case "expired":
      return tell(OfferState.OFFER_STATE_EXPIRED, ...asked);
  }
}

/** The event for a worker, but for its channel. */
export function tellingEvent(
  template: Uint8Array,
  telling: { readonly seed: string; readonly change: OfferChange; readonly state: OfferState },
): Event {
  const { seed, change, state } = telling;
  const { revision, timeMs, expiresAtMs, fencingNumber } = change;
  const event = Event.decode(template);
  const said = { state, expiresAtMs, fencingNumber };
  return { ...event, id: changeEventId(seed, revision), timeMs, body: withFacts(event, said) };
}

/** What an open offer says to a worker who comes back: the event with which they were asked. */
export function standingEvent(view: OfferView): Event {
  const event = Event.decode(view.template);
  const said = {
    state: OfferState.OFFER_STATE_OPEN,
    expiresAtMs: view.answerUntilMs,
    fencingNumber: 0,
  };
  const id = changeEventId(view.seed, view.askedRevision);
  return { ...event, id, timeMs: view.askedAtMs, body: withFacts(event, said) };
}

/** Free data of the offer, as its backend gave it. */
export function dataOf(template: Uint8Array): OfferUpdate["data"] {
  const { body } = Event.decode(template);
  return body?.$case === "offer" ? body.value.data : undefined;
}

/** What the outbox holds of a change: an event whose type and data are those of the envelope that is written. */
export function outboxEvent(template: Uint8Array, eventId: string, change: OfferChange): Event {
  const event = Event.decode(template);
  const { kind, userId, role, reason, fencingNumber, expiresAtMs, timeMs } = change;
  const offer = event.body?.$case === "offer" ? event.body.value : offerUpdate({});
  const isOver = kind === "accepted" || kind === "withdrawn" || kind === "expired";
  const data = {
    offerId: offer.offerId,
    subjectId: offer.subjectId,
    state: isOver ? kind : "open",
    ...(userId !== "" && { workerId: userId }),
    ...(reason !== "" && { reason }),
    ...(fencingNumber > 0 && { fencingNumber }),
    ...(expiresAtMs > 0 && { expiresAtMs }),
    ...(offer.data !== undefined && { data: offer.data }),
  };
  const isAnswer = role !== "";
  return {
    ...event,
    id: eventId,
    timeMs,
    ...(isAnswer && { sender: { userId, role } }),
    body: { $case: "custom", value: { type: typeOf(kind), data } },
  };
}

/** The outbox's fields that are the same for both stores. */
export function outboxFields(offer: Pick<NewOffer, "seed"> & OfferName, revision: number) {
  return {
    topic: OFFER_TOPIC,
    key: offer.offerId,
    eventId: changeEventId(offer.seed, revision),
    channel: `${offer.app}/offer:${offer.offerId}`,
    epoch: offer.seed,
    offset: revision,
  };
}

function typeOf(kind: ChangeKind): string {
  return `offer.${kind}`;
}

function offerUpdate(more: Partial<OfferUpdate>): OfferUpdate {
  return {
    offerId: "",
    state: OfferState.OFFER_STATE_UNSPECIFIED,
    subjectId: "",
    expiresAtMs: 0,
    fencingNumber: 0,
    data: undefined,
    ...more,
  };
}

function withFacts(
  { body }: Event,
  facts: Pick<OfferUpdate, "state" | "expiresAtMs" | "fencingNumber">,
): NonNullable<Event["body"]> {
  const offer = body?.$case === "offer" ? body.value : offerUpdate({});
  return { $case: "offer", value: { ...offer, ...facts } };
}
