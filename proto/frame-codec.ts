/**
 * Client and server frames in both native framings. JSON framing is the canonical proto3 JSON of the same
 * messages (https://protobuf.dev/programming-guides/json/), read and written by protobuf-es from the
 * contract's descriptor; the rest of the code knows only the messages.
 */
import { readFileSync } from "node:fs";
import {
  createFileRegistry,
  fromBinary,
  fromJson,
  toBinary,
  toJson,
  type DescMessage,
  type JsonValue,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { encode } from "./encode.js";
import { GatewayError } from "./errors.js";
import { ClientFrame } from "./gen/realtime/client/v1/client_frame.js";
import { ServerFrame } from "./gen/realtime/client/v1/server_frame.js";
import { Framing } from "./gen/realtime/link/v1/link.js";
import { parseUntrustedJson } from "./json-guard.js";

const registry = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(new URL("./gen/descriptor.binpb", import.meta.url))),
);

function messageOf(name: string): DescMessage {
  const message = registry.getMessage(name);
  if (message === undefined) throw new Error(`the descriptor has no ${name}; run npm run generate`);
  return message;
}

/** The bodies of events by field number: what is counted as what. */
const EVENT_BODIES: ReadonlyMap<number, string> = new Map(
  messageOf("realtime.client.v1.Event")
    .fields.filter(({ oneof }) => oneof?.name === "body")
    .map(({ number, jsonName }) => [number, jsonName]),
);

const clientFrameSchema = messageOf("realtime.client.v1.ClientFrame");
const serverFrameSchema = messageOf("realtime.client.v1.ServerFrame");

/** Field numbers of `ClientFrame` that are bodies, known or not (see the contract). */
const BODY_FIELDS = { first: 10, last: 99 };
const KNOWN_FIELDS = new Set(clientFrameSchema.fields.flatMap((field) => [field.name, field.jsonName]));
const BODY_NAMES = new Set(
  clientFrameSchema.fields.flatMap(({ oneof, name, jsonName }) =>
    oneof?.name === "body" ? [name, jsonName] : [],
  ),
);

/**
 * Reads a frame as a client sent it.
 * @throws GatewayError invalid_argument where it cannot be read or has no body, unsupported where it has a
 *   body that this release does not know. The frame's id is in `decodeClientFrame`'s error where readable.
 */
export function decodeClientFrame(framing: Framing, payload: Uint8Array): ClientFrame {
  return framing === Framing.FRAMING_JSON ? decodeJson(payload) : decodeProtobuf(payload);
}

/** A frame that has an id, but nothing else that this release can deal with. */
export class UnusableFrame extends GatewayError {
  constructor(
    kind: "invalid_argument" | "unsupported",
    message: string,
    readonly frameId: number,
  ) {
    super(kind, message);
  }
}

function decodeProtobuf(payload: Uint8Array): ClientFrame {
  let frame: ClientFrame;
  try {
    frame = ClientFrame.decode(payload);
  } catch (thrown) {
    throw new GatewayError("invalid_argument", "the frame is not a protobuf ClientFrame", { cause: thrown });
  }
  if (frame.body === undefined) throw withoutBody(frame.id, hasBodyField(payload));
  return frame;
}

function decodeJson(payload: Uint8Array): ClientFrame {
  const value = parseUntrustedJson(payload);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new GatewayError("invalid_argument", "a frame is a JSON object");
  }
  if (Object.keys(value).filter((key) => BODY_NAMES.has(key)).length > 1) {
    throw new UnusableFrame("invalid_argument", "the frame has more than one body", jsonFrameId(value));
  }
  let frame: ClientFrame;
  try {
    const message = fromJson(clientFrameSchema, value as JsonValue, { ignoreUnknownFields: true });
    frame = ClientFrame.decode(toBinary(clientFrameSchema, message));
  } catch (thrown) {
    throw new UnusableFrame(
      "invalid_argument",
      `the frame is not a ClientFrame in proto3 JSON: ${describeJsonError(thrown)}`,
      jsonFrameId(value),
    );
  }
  if (frame.body === undefined) {
    throw withoutBody(
      frame.id,
      Object.keys(value).some((key) => !KNOWN_FIELDS.has(key)),
    );
  }
  return frame;
}

/** The id of a parsed frame in JSON framing, which may be a number or its decimal digits; 0 where it has none. */
export function jsonFrameId(frame: unknown): number {
  if (typeof frame !== "object" || frame === null || !Object.hasOwn(frame, "id")) return 0;
  const { id } = frame as { id: unknown };
  const number = typeof id === "string" && /^\d{1,10}$/.test(id) ? Number(id) : id;
  return typeof number === "number" && Number.isInteger(number) && number >= 0 && number <= 0xffff_ffff
    ? number
    : 0;
}

/** Names the field at fault, which is ours, and never its value, which is not. */
function describeJsonError(thrown: unknown): string {
  const field = /field (realtime\.client\.v1\.[A-Za-z]+\.[a-z_]+)/.exec(
    thrown instanceof Error ? thrown.message : "",
  );
  return field?.[1] === undefined
    ? "a field has a wrong type or value"
    : `${field[1]} has a wrong type or value`;
}

function withoutBody(frameId: number, hasUnknownBody: boolean): UnusableFrame {
  return hasUnknownBody
    ? new UnusableFrame("unsupported", "this gateway does not know the frame's body", frameId)
    : new UnusableFrame("invalid_argument", "the frame has no body", frameId);
}

/** Whether a top-level field of a frame has the number of a body, known or not. */
function hasBodyField(message: Uint8Array): boolean {
  for (const field of fieldNumbers(message)) {
    if (field >= BODY_FIELDS.first && field <= BODY_FIELDS.last) return true;
  }
  return false;
}

/** What an encoded `Event` is about, as JSON framing names its body; "unknown" for bodies of a later release. */
export function eventBodyName(event: Uint8Array): string {
  for (const field of fieldNumbers(event)) {
    const name = EVENT_BODIES.get(field);
    if (name !== undefined) return name;
  }
  return "unknown";
}

/** The numbers of a protobuf message's top-level fields, in their order, without decoding them. */
function* fieldNumbers(message: Uint8Array): Generator<number> {
  let index = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; index < message.length; shift += 7) {
      const byte = message[index] ?? 0;
      index += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (index < message.length) {
    const tag = varint();
    yield Math.floor(tag / 8);
    const wireType = tag % 8;
    if (wireType === 0) varint();
    else if (wireType === 1) index += 8;
    else if (wireType === 2) {
      // In two steps: `index += varint()` would read `index` before the length itself is passed over.
      const length = varint();
      index += length;
    } else if (wireType === 5) index += 4;
    else return;
  }
}

/** A frame to a client, in its framing. */
export function encodeServerFrame(framing: Framing, frame: ServerFrame): Uint8Array {
  const protobuf = encode(ServerFrame, frame);
  return framing === Framing.FRAMING_JSON ? serverFrameToJson(protobuf) : protobuf;
}

/** The JSON framing of a server frame that is encoded already. */
export function serverFrameToJson(protobuf: Uint8Array): Uint8Array {
  return Buffer.from(JSON.stringify(toJson(serverFrameSchema, fromBinary(serverFrameSchema, protobuf))));
}
