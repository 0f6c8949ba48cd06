import { describe, expect, it } from "vitest";
import { Envelope } from "#proto/gen/realtime/events/v1/envelope.js";
import { isOwnRecord, readEnvelope, writeEnvelope, type CheckedEnvelope } from "./envelope.js";
import { UnreadableRecord, type SourceRecord } from "./event-source.js";

const PROTOBUF = { "content-type": "application/protobuf" };
const TIME_MS = Date.parse("2026-02-17T10:30:00.000Z");
const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const full: CheckedEnvelope = {
  eventId: "e1",
  type: "order.status.changed",
  occurredAtMs: TIME_MS,
  correlationId: "c1",
  traceparent: TRACEPARENT,
  app: "food",
  version: 7,
  data: { orderId: "42", nested: { list: [1, null, "x", true] } },
};

function record(value: Uint8Array | string, headers: Record<string, string> = {}): SourceRecord {
  return {
    topic: "order-events",
    partition: 0,
    offset: 0,
    key: undefined,
    value: Buffer.from(value),
    headers,
  };
}

function json(value: unknown): SourceRecord {
  return record(JSON.stringify(value));
}

function protobuf(envelope: Partial<CheckedEnvelope>): SourceRecord {
  return record(Envelope.encode(Envelope.fromPartial(envelope)).finish(), PROTOBUF);
}

function reasonOf(read: SourceRecord): string {
  try {
    readEnvelope(read);
  } catch (error) {
    if (error instanceof UnreadableRecord) return error.message;
    throw error;
  }
  throw new Error("it was readable");
}

describe("readEnvelope", () => {
  it("reads the same from JSON and from protobuf", () => {
    const { occurredAtMs, ...rest } = full;
    const asJson = json({ ...rest, occurredAt: new Date(occurredAtMs).toISOString() });
    expect(readEnvelope(asJson)).toEqual(full);
    expect(readEnvelope(protobuf(full))).toEqual(full);
  });

  it("reads protobuf by the media type, whatever its parameters and case", () => {
    const { value } = protobuf(full);
    const headers = { "content-type": "Application/Protobuf; messageType=realtime.events.v1.Envelope" };
    expect(readEnvelope(record(value, headers))).toEqual(full);
  });

  it("needs only an id and a type; the rest is empty, and the app is the default one", () => {
    const wanted = {
      eventId: "e1",
      type: "t",
      occurredAtMs: 0,
      correlationId: "",
      traceparent: "",
      app: "default",
      version: 0,
      data: {},
    };
    expect(readEnvelope(json({ eventId: "e1", type: "t" }))).toEqual(wanted);
    expect(readEnvelope(json({ eventId: "e1", type: "t", app: null, data: null, version: null }))).toEqual(
      wanted,
    );
    expect(readEnvelope(protobuf({ eventId: "e1", type: "t" }))).toEqual(wanted);
  });

  it.each([
    ["an RFC 3339 time", { occurredAt: "2026-02-17T10:30:00Z" }],
    ["an RFC 3339 time with an offset", { occurredAt: "2026-02-17T13:30:00.000+03:00" }],
    ["milliseconds", { occurredAt: TIME_MS }],
    ["the field's protobuf name, as proto3 JSON writes it", { occurredAtMs: String(TIME_MS) }],
  ])("reads the time as %s", (_, time) => {
    expect(readEnvelope(json({ eventId: "e1", type: "t", ...time })).occurredAtMs).toBe(TIME_MS);
  });

  it.each([
    ["no id", { type: "t" }, "eventId must be given"],
    ["an id that is a number", { eventId: 1, type: "t" }, "eventId must be a string"],
    ["an id with a space", { eventId: "a b", type: "t" }, "eventId must be given"],
    ["no type", { eventId: "e1" }, "type must be given"],
    ["a type with a newline", { eventId: "e1", type: "a\nb" }, "type must be given"],
    ["data that is a list", { eventId: "e1", type: "t", data: [] }, "data must be an object"],
    ["data that is text", { eventId: "e1", type: "t", data: "x" }, "data must be an object"],
    ["a time in seconds", { eventId: "e1", type: "t", occurredAt: 1_771_324_200 }, "occurredAt must be"],
    ["a time that is none", { eventId: "e1", type: "t", occurredAt: "yesterday" }, "occurredAt must be"],
    ["a day that is none", { eventId: "e1", type: "t", occurredAt: "2026-02-99T00:00:00Z" }, "occurredAt"],
    ["a time beyond time", { eventId: "e1", type: "t", occurredAt: 9e15 }, "occurredAt must be"],
    ["a negative version", { eventId: "e1", type: "t", version: -1 }, "version must be"],
    ["half a version", { eventId: "e1", type: "t", version: 1.5 }, "version must be"],
    ["an app that steers keys", { eventId: "e1", type: "t", app: "a/b" }, "app must be"],
    [
      "a correlation id too long",
      { eventId: "e1", type: "t", correlationId: "x".repeat(201) },
      "correlation",
    ],
    ["a list", [1], "it is not a JSON object"],
    ["null", null, "it is not a JSON object"],
  ])("refuses %s", (_, value, reason) => {
    expect(reasonOf(json(value))).toContain(reason);
  });

  it.each([
    ["nothing", "", "empty"],
    ["text that is not JSON", "order 42 is secret", "it is not JSON"],
    ["half of an object", '{"eventId":"secret"', "it is not JSON"],
    ["bad UTF-8", Buffer.from([0x22, 0xff, 0x22]), "it is not JSON"],
    ["more than 256 KiB", "x".repeat(256 * 1024 + 1), "larger than 262144 bytes"],
    ["100,000 nested lists", "[".repeat(100_000), "deeper than 32 levels"],
    ["a key __proto__", '{"eventId":"secret","type":"t","__proto__":{"app":"x"}}', "a key __proto__"],
    [
      "a key __proto__ in the data, escaped",
      '{"eventId":"secret","type":"t","data":{"a":[{"\\u005f_proto__":1}]}}',
      "a key __proto__",
    ],
  ])("refuses %s, and quotes nothing of it", (_, value, reason) => {
    expect(reasonOf(record(value))).toContain(reason);
    expect(reasonOf(record(value))).not.toContain("secret");
  });

  it("takes 32 levels, and no brackets in strings for levels", () => {
    const nested = (levels: number): string => `${'{"a":'.repeat(levels)}"[[\\"[[["${"}".repeat(levels)}`;
    const envelope = (levels: number): string => `{"eventId":"e","type":"t","data":${nested(levels)}}`;
    expect(readEnvelope(record(envelope(31))).eventId).toBe("e");
    expect(reasonOf(record(envelope(32)))).toContain("deeper than 32 levels");
  });

  it.each([
    ["truncated", Envelope.encode(Envelope.fromPartial(full)).finish().subarray(0, -3)],
    ["JSON under the wrong header", Buffer.from('{"eventId":"e1","type":"t"}')],
    ["random bytes", Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
  ])("refuses protobuf that is %s", (_, value) => {
    expect(reasonOf(record(value, PROTOBUF))).toMatch(/not a protobuf|must be/);
  });

  it("refuses protobuf data nested too deep, with a key __proto__, and numbers that JSON cannot say", () => {
    let deep: Record<string, unknown> = {};
    for (let level = 0; level < 200; level += 1) deep = { deep };
    expect(reasonOf(protobuf({ ...full, data: deep }))).toMatch(/not a protobuf|deeper/);
    let tooDeep: Record<string, unknown> = {};
    for (let level = 0; level < 31; level += 1) tooDeep = { tooDeep };
    expect(reasonOf(protobuf({ ...full, data: tooDeep }))).toMatch(/not a protobuf|deeper/);
    // Our own encoder would drop the key; another's does not.
    const honest = Buffer.from(protobuf({ ...full, data: { a: { __prot0__: { x: 1 } } } }).value);
    honest.write("__proto__", honest.indexOf("__prot0__"), "latin1");
    expect(reasonOf(record(honest, PROTOBUF))).toContain("__proto__");
    expect(reasonOf(protobuf({ ...full, data: { a: Number.NaN } }))).toContain("not finite");
  });

  it("drops a traceparent that is none, and keeps the event", () => {
    expect(readEnvelope(json({ eventId: "e1", type: "t", traceparent: "x" })).traceparent).toBe("");
  });
});

describe("writeEnvelope", () => {
  it("writes what readEnvelope reads, and marks it as the gateway's own", () => {
    const sent = writeEnvelope({ topic: "porter-events", key: "p1" }, full);
    expect(sent).toMatchObject({ topic: "porter-events", key: "p1" });
    const received = { ...record(sent.value), headers: sent.headers };
    expect(readEnvelope(received)).toEqual(full);
    expect(isOwnRecord(received)).toBe(true);
    expect(isOwnRecord(json(full))).toBe(false);
  });
});
