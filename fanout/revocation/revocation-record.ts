/**
 * A revocation as a record of its topic and back: an envelope as on all topics, with a key of its own for each
 * revocation, so that compaction keeps every one. Authentication services may write such records too.
 */
import { createHash } from "node:crypto";
import { readEnvelope, writeEnvelope, type CheckedEnvelope } from "#fanout/event/envelope.js";
import type { SinkRecord } from "#fanout/event/event-sink.js";
import { UnreadableRecord, type SourceRecord } from "#fanout/event/event-source.js";
import { MAX_REVOKED_ID_LENGTH, revocationKey, type Revocation } from "./revocation.js";

/** The types of records, by what they revoke. */
export const REVOCATION_TYPES = { token: "token.revoked", user: "user.tokens.revoked" } as const;

const SECOND_MS = 1000;

export function revocationRecord(revocation: Revocation, topic: string, nowMs: number): SinkRecord {
  const { app, subject, id, issuedBeforeMs, expiresAtMs } = revocation;
  const key = `${revocationKey(revocation)} ${issuedBeforeMs}`;
  const data =
    subject === "token"
      ? { tokenId: id, expiresAt: expiresAtMs }
      : { userId: id, issuedBefore: issuedBeforeMs, expiresAt: expiresAtMs };
  const eventId = createHash("sha256").update(`${key} ${expiresAtMs}`).digest("base64url");
  return writeEnvelope(
    { topic, key },
    {
      eventId,
      type: REVOCATION_TYPES[subject],
      occurredAtMs: nowMs,
      correlationId: "",
      traceparent: "",
      app,
      version: 0,
      data,
    },
  );
}

/**
 * Undefined for a record of another type. What a writer leaves out follows from when it happened.
 * @throws UnreadableRecord
 */
export function readRevocationRecord(
  record: SourceRecord,
  maxTokenLifetimeMs: number,
): Revocation | undefined {
  const envelope = readEnvelope(record);
  const { app, type, occurredAtMs, data } = envelope;
  const subject =
    type === REVOCATION_TYPES.token ? "token" : type === REVOCATION_TYPES.user ? "user" : undefined;
  if (subject === undefined) return undefined;
  const id = readId(envelope, subject === "token" ? "tokenId" : "userId");
  const expiresAtMs = readTimeMs(data, "expiresAt") ?? occurredAtMs + maxTokenLifetimeMs;
  const issuedBeforeMs =
    readTimeMs(data, "issuedBefore") ?? (Math.floor(occurredAtMs / SECOND_MS) + 1) * SECOND_MS;
  const isTimed =
    occurredAtMs > 0 ||
    (data["expiresAt"] !== undefined && (subject === "token" || data["issuedBefore"] !== undefined));
  if (!isTimed) throw new UnreadableRecord("occurredAt, or the times in data, must be given");
  return { app, subject, id, issuedBeforeMs: subject === "token" ? 0 : issuedBeforeMs, expiresAtMs };
}

function readId({ data }: CheckedEnvelope, field: string): string {
  const id = data[field];
  if (typeof id === "string" && id !== "" && id.length <= MAX_REVOKED_ID_LENGTH) return id;
  throw new UnreadableRecord(
    `data.${field} must be given: a text of at most ${MAX_REVOKED_ID_LENGTH} characters`,
  );
}

/** Undefined where it is absent. */
function readTimeMs(data: CheckedEnvelope["data"], field: string): number | undefined {
  const value = data[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new UnreadableRecord(`data.${field} must be milliseconds since 1970-01-01 UTC`);
}
