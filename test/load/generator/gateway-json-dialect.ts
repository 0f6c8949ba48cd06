/**
 * The gateway's native framing in JSON (docs/protocol.md, subprotocol `realtime.v1.json`). A delivery is a text
 * that begins with `{"event":` and has an accuracy: a `subscribed` may hold one too, which is no delivery.
 */
import type { ClientDialect, Heard, Seat } from "./dialect.js";
import { Opcode } from "./frame-reader.js";
import { gatewayHandshake, hearGateway, locationUpdate, type GatewayFrame } from "./gateway-entry.js";
import { JsonNumberField } from "./json-number-field.js";
import { LocationFrame } from "./location-frame.js";

export function gatewayJsonDialect(): ClientDialect {
  const accuracy = new JsonNumberField("accuracy");
  const speed = new JsonNumberField("speed");
  return {
    opcode: Opcode.TEXT,
    handshake: (seat, options) => gatewayHandshake("realtime.v1.json", seat, options),
    greeting: (_, resumeToken) =>
      resumeToken === ""
        ? undefined
        : encode({ body: { $case: "resume", value: { resumeToken, positions: {} } } }),
    sentUs: (bytes, start, end) => (isEvent(bytes, start, end) ? accuracy.millionths(bytes, start, end) : -1),
    sender: (bytes, start, end) => speed.millionths(bytes, start, end) / 1_000_000,
    hear,
    locationFrame: (seat) => LocationFrame.ofText(Opcode.TEXT, json({ body: locationUpdate(seat) })),
  };
}

const EVENT = Buffer.from('{"event":');

function isEvent(bytes: Buffer, start: number, end: number): boolean {
  if (start + EVENT.length > end) return false;
  for (let index = 0; index < EVENT.length; index += 1) {
    if (bytes[start + index] !== EVENT[index]) return false;
  }
  return true;
}

/** The proto3 JSON of what is sent here: 64-bit numbers are texts. */
function json({ id, body }: GatewayFrame): string {
  const value =
    body.$case === "locationUpdate"
      ? { ...body.value, timestampMs: String(body.value.timestampMs) }
      : body.value;
  return JSON.stringify({ id, [body.$case]: value });
}

function encode(frame: GatewayFrame): Uint8Array {
  return Buffer.from(json(frame));
}

/** What is read of it; zeros, false and empty texts are left out. */
interface JsonFrame {
  readonly replyTo?: number;
  readonly welcome?: { readonly resumeToken?: string; readonly resumed?: boolean };
  readonly subscribed?: { readonly channel?: string; readonly recovered?: boolean };
  readonly unsubscribed?: { readonly channel?: string };
  readonly error?: { readonly code?: string; readonly message?: string };
}

function hear(seat: Seat, message: Buffer): Heard {
  const frame = JSON.parse(message.toString()) as JsonFrame;
  const { replyTo = 0, welcome, subscribed, unsubscribed, error } = frame;
  if (welcome !== undefined) {
    const { resumeToken = "", resumed = false } = welcome;
    return hearGateway(seat, encode, { type: "welcome", resumeToken, resumed });
  }
  if (subscribed !== undefined) {
    const { channel = "", recovered = false } = subscribed;
    return hearGateway(seat, encode, { type: "subscribed", channel, recovered });
  }
  if (unsubscribed !== undefined) {
    return hearGateway(seat, encode, { type: "unsubscribed", channel: unsubscribed.channel ?? "" });
  }
  if (error !== undefined) {
    const { code = "unknown", message: told = "" } = error;
    return hearGateway(seat, encode, { type: "error", replyTo, code, message: told });
  }
  return { type: "nothing" };
}
