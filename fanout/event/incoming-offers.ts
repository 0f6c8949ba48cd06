/**
 * Offers that other services make (`job.offer.created`). Their times count from when it happened, so that an event that
 * waited asks nobody for longer than was meant; what is not known of them is passed on to candidates as it is.
 */
import {
  faultOf,
  MAX_CANDIDATES,
  MAX_LIMIT_MS,
  timeLimitOf,
  type OfferRequest,
} from "#fanout/offer/offer-request.js";
import type { CheckedEnvelope } from "./envelope.js";
import type { EventFields } from "./event-fields.js";
import { UnreadableRecord } from "./event-source.js";

const LIMIT = { from: 0, to: MAX_LIMIT_MS };

/** @throws UnreadableRecord */
export function offerOf(envelope: CheckedEnvelope, fields: EventFields, nowMs: number): OfferRequest {
  const { app, correlationId, traceparent, occurredAtMs } = envelope;
  const mode = fields.word("mode", "all_at_once");
  if (mode !== "all_at_once" && mode !== "one_by_one")
    throw new UnreadableRecord("data.mode must be all_at_once or one_by_one");
  const untilMs = fields.integer("expiresAtMs", { from: 0, to: Number.MAX_SAFE_INTEGER });
  const request: OfferRequest = {
    ...{ app, correlationId, traceparent, mode },
    offerId: fields.id("offerId"),
    subjectId: fields.id("subjectId", "orderId", "rideId"),
    candidates: fields.ids(MAX_CANDIDATES, "candidateIds", "porterIds", "driverIds", "workerIds"),
    timeLimitMs: fields.integer("timeLimitMs", LIMIT),
    candidateTimeLimitMs: fields.integer("candidateTimeLimitMs", LIMIT),
    // Last: everything that was not read before.
    data: fields.rest(),
  };
  const fault = faultOf(request);
  if (fault !== undefined) {
    const field = fault.field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    throw new UnreadableRecord(`data.${field} must be ${fault.rule}`);
  }
  const sinceMs = occurredAtMs === 0 ? nowMs : Math.min(occurredAtMs, nowMs);
  const expiresAtMs = untilMs > 0 ? Math.min(untilMs, nowMs + MAX_LIMIT_MS) : sinceMs + timeLimitOf(request);
  return { ...request, expiresAtMs };
}
