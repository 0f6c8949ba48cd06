/**
 * What a backend asks for when it makes an offer, whichever way it comes, and the rules that hold for it. A request
 * that is sent again makes the same digest, in whatever order its data come.
 */
import { createHash, randomBytes } from "node:crypto";
import { isIdentifier } from "#fanout/channel/channel.js";
import { offerTemplate } from "./offer-events.js";
import type { NewOffer, OfferMode } from "./offer.js";

export interface OfferRequest {
  readonly app: string;
  /** Chosen by the backend; also the idempotency key. */
  readonly offerId: string;
  readonly subjectId: string;
  readonly mode: OfferMode;
  readonly candidates: readonly string[];
  /** 0: the default. */
  readonly timeLimitMs: number;
  /** 0: the default. Of no account where all are asked at once. */
  readonly candidateTimeLimitMs: number;
  /** Milliseconds since 1970-01-01 UTC; then the time limit is of no account. */
  readonly expiresAtMs?: number;
  readonly data: Readonly<Record<string, unknown>> | undefined;
  readonly correlationId: string;
  readonly traceparent: string;
}

/** The names of its fields, as the API has them. */
export type OfferField =
  "offer_id" | "subject_id" | "candidate_ids" | "time_limit_ms" | "candidate_time_limit_ms" | "data";

export interface OfferFault {
  readonly field: OfferField;
  /** What it must be. */
  readonly rule: string;
}

export const MAX_CANDIDATES = 100;
export const MIN_LIMIT_MS = 1_000;
export const MAX_LIMIT_MS = 24 * 3_600_000;
export const DEFAULT_LIMIT_MS = 30_000;
export const DEFAULT_CANDIDATE_LIMIT_MS = 15_000;
/** Each candidate gets a copy, and so does Kafka. */
export const MAX_OFFER_BYTES = 16 * 1024;

export function faultOf(request: OfferRequest): OfferFault | undefined {
  const { candidates, timeLimitMs, candidateTimeLimitMs } = request;
  const identifier = "1 to 128 of A-Z a-z 0-9 _ . @ | + = -";
  if (!isIdentifier(request.offerId)) return { field: "offer_id", rule: identifier };
  if (!isIdentifier(request.subjectId)) return { field: "subject_id", rule: identifier };
  if (candidates.length < 1 || candidates.length > MAX_CANDIDATES || !candidates.every(isIdentifier))
    return { field: "candidate_ids", rule: `1 to ${MAX_CANDIDATES} ids of users, each ${identifier}` };
  if (new Set(candidates).size < candidates.length)
    return { field: "candidate_ids", rule: "ids of different users" };
  const limit = `0 (the default), or ${MIN_LIMIT_MS} to ${MAX_LIMIT_MS} ms`;
  if (!isLimit(timeLimitMs)) return { field: "time_limit_ms", rule: limit };
  if (!isLimit(candidateTimeLimitMs)) return { field: "candidate_time_limit_ms", rule: limit };
  if (offerTemplate(request).length > MAX_OFFER_BYTES)
    return { field: "data", rule: `small enough for an offer of ${MAX_OFFER_BYTES} bytes` };
  return undefined;
}

/** Of a request without a fault. */
export function newOffer(request: OfferRequest): NewOffer {
  const { app, offerId, subjectId, mode, candidates, expiresAtMs } = request;
  const candidateTimeLimitMs = candidateTimeLimitOf(request);
  return {
    ...{ app, offerId, subjectId, mode, candidates, candidateTimeLimitMs },
    timeLimitMs: timeLimitOf(request),
    ...(expiresAtMs !== undefined && { expiresAtMs }),
    template: offerTemplate(request),
    digest: digestOf(request),
    seed: randomBytes(12).toString("hex"),
  };
}

/** One by one everybody gets their turn, where nothing else is said. */
export function timeLimitOf(request: OfferRequest): number {
  const { mode, timeLimitMs, candidates } = request;
  if (timeLimitMs > 0) return timeLimitMs;
  if (mode === "all_at_once") return DEFAULT_LIMIT_MS;
  return Math.min(MAX_LIMIT_MS, candidates.length * candidateTimeLimitOf(request));
}

function candidateTimeLimitOf({ candidateTimeLimitMs }: OfferRequest): number {
  return candidateTimeLimitMs > 0 ? candidateTimeLimitMs : DEFAULT_CANDIDATE_LIMIT_MS;
}

function digestOf(request: OfferRequest): string {
  const { subjectId, mode, candidates, timeLimitMs, candidateTimeLimitMs, data } = request;
  const asked = JSON.stringify([
    subjectId,
    mode,
    candidates,
    timeLimitMs,
    candidateTimeLimitMs,
    inOrder(data),
  ]);
  return createHash("sha256").update(asked).digest("base64url");
}

/** Maps come in any order from those who send them again. */
function inOrder(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(inOrder);
  const entries = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return entries.map(([name, inner]) => [name, inOrder(inner)]);
}

function isLimit(valueMs: number): boolean {
  return (
    valueMs === 0 || (Number.isSafeInteger(valueMs) && valueMs >= MIN_LIMIT_MS && valueMs <= MAX_LIMIT_MS)
  );
}
