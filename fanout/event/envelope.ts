/**
 * Envelopes: how events of other services are wrapped on topics (`realtime.events.v1`), as JSON or as
 * protobuf by the header `content-type`. Reading checks everything before anybody walks the data; what
 * is wrong makes the record unreadable, with a reason that quotes nothing of it. What an event's data
 * means is left to `incoming-events.ts`.
 */
import { Envelope } from "#proto/gen/realtime/events/v1/envelope.js";
import { isNestedDeeper } from "#proto/json-guard.js";
import { isIdentifier } from "#fanout/channel/channel.js";
import type { SinkRecord } from "./event-sink.js";
import { UnreadableRecord, type SourceRecord } from "./event-source.js";
import { depthOf, faultOf, isPlainObject } from "./json-guard.js";

/** An envelope that was checked; absent texts are empty. */
export interface CheckedEnvelope {
  readonly eventId: string;
  readonly type: string;
  /** 0 where the producer did not say. */
  readonly occurredAtMs: number;
  readonly correlationId: string;
  readonly traceparent: string;
  readonly app: string;
  /** 0: not versioned. */
  readonly version: number;
  readonly data: Readonly<Record<string, unknown>>;
}

export const DEFAULT_APP = "default";
export const CONTENT_TYPE_HEADER = "content-type";
export const PROTOBUF_CONTENT_TYPE = "application/protobuf";
export const JSON_CONTENT_TYPE = "application/json";
/** Says who sent a record; the gateway skips its own. */
export const SOURCE_HEADER = "source";
export const OWN_SOURCE = "realtime-gateway";

/** Of a record, and of each event that is made of one: numbers take five times as much there as in JSON. */
export const MAX_ENVELOPE_BYTES = 256 * 1024;
const MAX_DEPTH = 32;
/** A number below it counts seconds, not milliseconds (1973). */
const MIN_TIME_MS = 100_000_000_000;
/** The end of what a Date can be. */
const MAX_TIME_MS = 8_640_000_000_000_000;

const EVENT_ID = /^[\x21-\x7e]{1,200}$/;
const EVENT_TYPE = /^[A-Za-z0-9_.-]{1,128}$/;
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;
const DECIMAL = /^\d{1,16}$/;

/** How a key `__proto__` stands in a protobuf map: decoding would drop it without a word. */
const PROTO_KEY_IN_MAP = Buffer.from("\x0a\x09__proto__", "latin1");

export function isOwnRecord(record: SourceRecord): boolean {
  return record.headers[SOURCE_HEADER] === OWN_SOURCE;
}

/** @throws UnreadableRecord where it is not an envelope. */
export function readEnvelope(record: SourceRecord): CheckedEnvelope {
  const { value, headers } = record;
  if (value.byteLength === 0) throw new UnreadableRecord("the record is empty");
  if (value.byteLength > MAX_ENVELOPE_BYTES)
    throw new UnreadableRecord(`the record is larger than ${MAX_ENVELOPE_BYTES} bytes`);
  const mediaType = headers[CONTENT_TYPE_HEADER]?.split(";", 1)[0]?.trim().toLowerCase();
  return check(mediaType === PROTOBUF_CONTENT_TYPE ? readProtobuf(value) : readJson(value));
}

/** An event of the gateway, as JSON, marked as its own. Records of one key keep their order. */
export function writeEnvelope(
  to: { readonly topic: string; readonly key: string },
  envelope: CheckedEnvelope,
): SinkRecord {
  const json = {
    eventId: envelope.eventId,
    type: envelope.type,
    ...(envelope.occurredAtMs > 0 && { occurredAt: new Date(envelope.occurredAtMs).toISOString() }),
    ...(envelope.correlationId !== "" && { correlationId: envelope.correlationId }),
    ...(envelope.traceparent !== "" && { traceparent: envelope.traceparent }),
    ...(envelope.app !== DEFAULT_APP && { app: envelope.app }),
    ...(envelope.version > 0 && { version: envelope.version }),
    data: envelope.data,
  };
  return {
    ...to,
    value: Buffer.from(JSON.stringify(json), "utf8"),
    headers: { [CONTENT_TYPE_HEADER]: JSON_CONTENT_TYPE, [SOURCE_HEADER]: OWN_SOURCE },
  };
}

function readProtobuf(value: Uint8Array): Readonly<Record<string, unknown>> {
  if (Buffer.from(value.buffer, value.byteOffset, value.byteLength).includes(PROTO_KEY_IN_MAP))
    throw new UnreadableRecord("it holds a key __proto__");
  try {
    return { ...Envelope.decode(value) };
  } catch {
    throw new UnreadableRecord("it is not a protobuf realtime.events.v1.Envelope");
  }
}

function readJson(value: Uint8Array): Readonly<Record<string, unknown>> {
  if (isNestedDeeper(value, MAX_DEPTH)) throw tooDeep();
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(value));
  } catch {
    throw new UnreadableRecord("it is not JSON");
  }
  if (!isPlainObject(parsed)) throw new UnreadableRecord("it is not a JSON object");
  return parsed;
}

function check(raw: Readonly<Record<string, unknown>>): CheckedEnvelope {
  // JSON says null for what is absent; unset protobuf fields have their default.
  const field = (name: string): unknown => raw[name] ?? undefined;
  const data = field("data") ?? {};
  if (!isPlainObject(data)) throw wrong("data", "an object");
  // The envelope itself is one level.
  if (depthOf(data) >= MAX_DEPTH) throw tooDeep();
  const fault = Object.hasOwn(raw, "__proto__") ? "it holds a key __proto__" : faultOf(data);
  if (fault !== undefined) throw new UnreadableRecord(fault);

  const eventId = text(field("eventId"), "eventId");
  if (!EVENT_ID.test(eventId))
    throw wrong("eventId", "given: 1 to 200 printable ASCII characters without spaces");
  const type = text(field("type"), "type");
  if (!EVENT_TYPE.test(type)) throw wrong("type", "given: 1 to 128 of A-Z a-z 0-9 _ . -");
  const app = text(field("app"), "app") || DEFAULT_APP;
  if (!isIdentifier(app)) throw wrong("app", "an identifier");
  const correlationId = text(field("correlationId"), "correlationId");
  if (correlationId.length > 200) throw wrong("correlationId", "200 characters or shorter");
  const traceparent = text(field("traceparent"), "traceparent");
  return {
    eventId,
    type,
    occurredAtMs: readTime(field("occurredAt") ?? field("occurredAtMs")),
    correlationId,
    // A trace that cannot be continued is no reason to lose the event.
    traceparent: TRACEPARENT.test(traceparent) ? traceparent : "",
    app,
    version: readVersion(field("version")),
    data,
  };
}

function text(value: unknown, name: string): string {
  if (value === undefined) return "";
  if (typeof value !== "string") throw wrong(name, "a string");
  return value;
}

function readTime(value: unknown): number {
  const wanted = "an RFC 3339 time or milliseconds since 1970-01-01 UTC";
  if (value === undefined || value === 0) return 0;
  const isDecimal = typeof value === "string" && DECIMAL.test(value);
  let timeMs = Number.NaN;
  if (typeof value === "number" || isDecimal) timeMs = Math.trunc(Number(value));
  else if (typeof value === "string" && RFC_3339.test(value)) timeMs = Date.parse(value);
  if (isDecimal && timeMs === 0) return 0;
  if (!(timeMs >= MIN_TIME_MS && timeMs <= MAX_TIME_MS)) throw wrong("occurredAt", wanted);
  return timeMs;
}

function readVersion(value: unknown): number {
  if (value === undefined) return 0;
  const version = typeof value === "string" && DECIMAL.test(value) ? Number(value) : value;
  if (typeof version !== "number" || !Number.isSafeInteger(version) || version < 0)
    throw wrong("version", "a whole number from 0 to 2^53 - 1");
  return version;
}

function wrong(name: string, wanted: string): UnreadableRecord {
  return new UnreadableRecord(`${name} must be ${wanted}`);
}

function tooDeep(): UnreadableRecord {
  return new UnreadableRecord(`it nests deeper than ${MAX_DEPTH} levels`);
}
