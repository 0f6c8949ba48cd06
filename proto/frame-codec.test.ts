import { readFileSync } from "node:fs";
import {
  createFileRegistry,
  fromBinary,
  fromJson,
  ScalarType,
  toBinary,
  toJson,
  type DescField,
  type DescMessage,
  type JsonValue,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { GatewayError } from "./errors.js";
import {
  decodeClientFrame,
  encodeServerFrame,
  eventBodyName,
  serverFrameToJson,
  UnusableFrame,
} from "./frame-codec.js";
import { ClientFrame } from "./gen/realtime/client/v1/client_frame.js";
import { Event } from "./gen/realtime/client/v1/event.js";
import { ServerFrame } from "./gen/realtime/client/v1/server_frame.js";
import { Framing } from "./gen/realtime/link/v1/link.js";

const { FRAMING_JSON: JSON_FRAMING, FRAMING_PROTOBUF: PROTOBUF_FRAMING } = Framing;
const registry = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(new URL("./gen/descriptor.binpb", import.meta.url))),
);

function schema(name: string): DescMessage {
  const message = registry.getMessage(`realtime.client.v1.${name}`);
  if (message === undefined) throw new Error(`no ${name}`);
  return message;
}

const clientFrame = schema("ClientFrame");
const serverFrame = schema("ServerFrame");

/** A value of every field of a message, in proto3 JSON; of a oneof the first that is asked for. */
function sampleOf(
  message: DescMessage,
  choose: (fields: readonly DescField[]) => DescField | undefined,
): JsonValue {
  if (message.typeName === "google.protobuf.Struct") return { text: "t", list: [1, null, { deep: true }] };
  const first = ([field]: readonly DescField[]): DescField | undefined => field;
  const fields = message.members.flatMap((member) => {
    if (member.kind === "field") return [member];
    const chosen = choose(member.fields);
    return chosen === undefined ? [] : [chosen];
  });
  const entries = fields.map((field): [string, JsonValue] => [field.jsonName, sampleOfField(field)]);
  return Object.fromEntries(entries);

  function sampleOfField(field: DescField): JsonValue {
    switch (field.fieldKind) {
      case "message":
        return sampleOf(field.message, first);
      case "list":
        if (field.listKind === "message") return [sampleOf(field.message, first)];
        return field.listKind === "scalar" ? [sampleOfScalar(field.scalar, field.jsonName)] : [];
      case "map":
        return { key: field.mapKind === "message" ? sampleOf(field.message, first) : "value" };
      case "enum":
        return field.enum.values.at(-1)?.name ?? "";
      case "scalar":
        return sampleOfScalar(field.scalar, field.jsonName);
    }
  }
}

function sampleOfScalar(type: ScalarType, name: string): JsonValue {
  switch (type) {
    case ScalarType.STRING:
      return `${name}-é-😀-"\\`;
    case ScalarType.BOOL:
      return true;
    case ScalarType.DOUBLE:
      return 12.5;
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return "9007199254740991";
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return 4_294_967_295;
    default:
      throw new Error(`the contract has a new type of field: ${name}`);
  }
}

/** Of every body a frame with all its fields. */
function samplesOf(message: DescMessage): [string, JsonValue][] {
  const bodies = message.oneofs.find(({ name }) => name === "body")?.fields ?? [];
  return bodies.map((body) => [
    body.jsonName,
    sampleOf(message, (fields) => (fields.includes(body) ? body : fields[0])),
  ]);
}

const bytesOf = (value: JsonValue): Buffer => Buffer.from(JSON.stringify(value));

describe("every body that apps send", () => {
  it.each(samplesOf(clientFrame))("%s is read alike from both framings, nothing lost", (name, sample) => {
    const protobuf = toBinary(clientFrame, fromJson(clientFrame, sample));
    const fromProtobuf = decodeClientFrame(PROTOBUF_FRAMING, protobuf);
    expect(fromProtobuf.body?.$case).toBe(name);
    expect(decodeClientFrame(JSON_FRAMING, bytesOf(sample))).toEqual(fromProtobuf);
    // Another implementation finds in what we read what was said.
    const again = ClientFrame.encode(fromProtobuf).finish();
    expect(toJson(clientFrame, fromBinary(clientFrame, again))).toEqual(sample);
  });
});

describe("every body that apps get", () => {
  it.each(samplesOf(serverFrame))("%s is written in both framings, nothing lost", (_name, sample) => {
    const protobuf = toBinary(serverFrame, fromJson(serverFrame, sample));
    const frame = ServerFrame.decode(protobuf);
    const written = encodeServerFrame(PROTOBUF_FRAMING, frame);
    expect(toJson(serverFrame, fromBinary(serverFrame, written))).toEqual(sample);
    const json = encodeServerFrame(JSON_FRAMING, frame);
    expect(JSON.parse(Buffer.from(json).toString())).toEqual(sample);
    expect(Buffer.from(serverFrameToJson(written)).equals(json)).toBe(true);
  });
});

function failure(framing: Framing, payload: Uint8Array): GatewayError {
  try {
    decodeClientFrame(framing, payload);
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
  throw new Error("the frame was let through");
}

const ping = ClientFrame.encode(
  ClientFrame.fromPartial({ id: 3, body: { $case: "ping", value: { clientTimeMs: 1 } } }),
).finish();

describe("what a later release may say", () => {
  it("is ignored where it is a field beside a known body", () => {
    const unknownFields = Uint8Array.from([
      ...ping,
      0x48,
      0x01,
      0xf8,
      0x3f,
      0x01,
      0xc2,
      0x3e,
      0x02,
      0x61,
      0x62,
    ]);
    expect(decodeClientFrame(PROTOBUF_FRAMING, unknownFields)).toMatchObject({
      id: 3,
      body: { $case: "ping" },
    });
    const json = { id: 3, ping: { clientTimeMs: "1", more: {} }, andMore: [1], constructor: 1 };
    expect(decodeClientFrame(JSON_FRAMING, bytesOf(json))).toMatchObject({ id: 3, body: { $case: "ping" } });
  });

  it("is unsupported where it is a body, and the answer finds its frame", () => {
    // Field 60, length-delimited.
    const unknownBody = Uint8Array.from([0x08, 0x04, 0xe2, 0x03, 0x01, 0x61]);
    for (const error of [
      failure(PROTOBUF_FRAMING, unknownBody),
      failure(JSON_FRAMING, bytesOf({ id: 4, teleport: {} })),
      failure(JSON_FRAMING, bytesOf({ id: "4", teleport: {} })),
    ]) {
      expect(error).toBeInstanceOf(UnusableFrame);
      expect(error).toMatchObject({ kind: "unsupported", frameId: 4 });
    }
  });

  it("is found behind long fields, and not within them", () => {
    const requestId = Buffer.from([0xe2, 0x03].flatMap((byte) => Array.from({ length: 150 }, () => byte)));
    const before = Buffer.concat([Buffer.from([0x08, 0x04, 0x12, 0xac, 0x02]), requestId]);
    expect(failure(PROTOBUF_FRAMING, before)).toMatchObject({ kind: "invalid_argument", frameId: 4 });
    const behind = Buffer.concat([before, Buffer.from([0xe2, 0x03, 0x01, 0x61])]);
    expect(failure(PROTOBUF_FRAMING, behind)).toMatchObject({ kind: "unsupported", frameId: 4 });
  });

  it("is no body where its number is beyond those of bodies", () => {
    for (const field of [9, 100, 1000]) {
      const tag = field * 8;
      const bytes = Uint8Array.from([
        0x08,
        0x05,
        ...(tag < 128 ? [tag] : [(tag % 128) | 0x80, tag >> 7]),
        0x01,
      ]);
      expect(failure(PROTOBUF_FRAMING, bytes)).toMatchObject({ kind: "invalid_argument", frameId: 5 });
    }
  });
});

describe("what is wrong", () => {
  const secret = "s3cret";

  it.each<[string, JsonValue, number]>([
    ["has no body", { id: 5 }, 5],
    ["has two bodies", { id: 5, ping: {}, availability: {} }, 5],
    ["has a body of a wrong type", { id: 5, ping: secret }, 5],
    ["has a field of a wrong type", { id: 5, subscribe: { channel: { [secret]: secret } } }, 5],
    ["has a wrong enum", { id: 5, receipt: { kind: [secret] } }, 5],
    ["has a number that is none", { id: "5", ping: { clientTimeMs: secret } }, 5],
    ["has half a character", { id: 5, ping: {}, correlationId: "\ud800" }, 5],
    ["has an id that is none", { id: secret, ping: {} }, 0],
    ["has a negative id", { id: -5, ping: {} }, 0],
    ["is a list", [secret], 0],
    ["is a text", secret, 0],
    ["is null", null, 0],
  ])("a JSON frame that %s is told by its id, and not quoted", (_what, value, id) => {
    const error = failure(JSON_FRAMING, bytesOf(value));
    expect(error.kind).toBe("invalid_argument");
    expect(error instanceof UnusableFrame ? error.frameId : 0).toBe(id);
    expect(JSON.stringify(error.toMessage())).not.toContain(secret);
  });

  it("a JSON frame's field at fault is named in the contract's words", () => {
    const error = failure(JSON_FRAMING, bytesOf({ id: 5, locationUpdate: { latitude: "north" } }));
    expect(error.message).toContain("LocationUpdate.latitude");
    expect(error.message).not.toContain("north");
  });

  it("any part of a protobuf frame, and any byte changed in it, is read or refused, and nothing else", () => {
    const [, sample] = samplesOf(clientFrame).find(([name]) => name === "chatSend") ?? ["", {}];
    const whole = toBinary(clientFrame, fromJson(clientFrame, sample));
    const outcomes = new Set<string>();
    const tryOne = (bytes: Uint8Array): void => {
      try {
        outcomes.add(typeof decodeClientFrame(PROTOBUF_FRAMING, bytes).id);
      } catch (error) {
        outcomes.add(error instanceof GatewayError ? error.kind : String(error));
      }
    };
    for (let length = 0; length < whole.length; length += 1) tryOne(whole.slice(0, length));
    for (let index = 0; index < whole.length; index += 1) {
      for (const byte of [0x00, 0x7f, 0x80, 0xff, 0x0b, 0x0c]) {
        const changed = Uint8Array.from(whole);
        changed[index] = byte;
        tryOne(changed);
      }
    }
    for (const allowed of ["number", "invalid_argument", "unsupported"]) outcomes.delete(allowed);
    expect([...outcomes]).toEqual([]);
  });

  it.each([0x0b, 0x08, 0x0a, 0xff, 0x00])("64 KiB of the byte %i are refused, whatever they nest", (byte) => {
    expect(failure(PROTOBUF_FRAMING, new Uint8Array(65_536).fill(byte)).kind).toMatch(/^(invalid|unsupp)/);
  });
});

describe("a frame with two bodies", () => {
  it("is told so", () => {
    const frame = Buffer.from(JSON.stringify({ id: 5, ping: {}, subscribe: { channel: "order:1" } }));
    expect(() => decodeClientFrame(Framing.FRAMING_JSON, frame)).toThrow("the frame has more than one body");
  });
});

describe("the name of an encoded event's body", () => {
  const envelope = {
    id: "i".repeat(300),
    channel: "order:42",
    timeMs: 1_790_000_000_000,
    sender: { userId: "u1", role: "porter" },
    correlationId: "c",
    traceparent: "t".repeat(55),
  };

  it.each([
    ["location", { $case: "location", value: { workerId: "w1", latitude: 1, longitude: 2 } }],
    ["orderStatus", { $case: "orderStatus", value: { orderId: "42", status: "delivered" } }],
    ["chatMessage", { $case: "chatMessage", value: { content: "x".repeat(5_000) } }],
  ] as const)("is found behind whatever else the event holds (%s)", (name, body) => {
    const event = Event.encode(Event.fromPartial({ ...envelope, body }));
    expect(eventBodyName(event.finish())).toBe(name);
  });

  it("is unknown for a body of a later release, and for none", () => {
    const bare = Event.encode(Event.fromPartial(envelope)).finish();
    const later = Buffer.concat([bare, Buffer.from([0xca, 0x04, 0x02, 0xa2, 0x01])]);
    expect([eventBodyName(bare), eventBodyName(later)]).toEqual(["unknown", "unknown"]);
  });
});
