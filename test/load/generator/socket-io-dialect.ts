/**
 * Socket.IO 4 over the WebSocket transport (Engine.IO protocol 4), as its client speaks it on namespace `/`:
 * open, CONNECT with the token, `join` with an ack; then `location` events out and `location_update` events in.
 */
import type { ClientDialect, Heard, Seat } from "./dialect.js";
import { Opcode } from "./frame-reader.js";
import { JsonNumberField } from "./json-number-field.js";
import { LocationFrame, locationFields } from "./location-frame.js";

/** An Engine.IO packet's first character; a message's second is Socket.IO's type of packet. */
const OPEN = "0";
const PING = "2";
const PONG = Buffer.from("3");
const CONNECT = "40";
const EVENT = "42";
const ACK = "43";
const CONNECT_ERROR = "44";
const JOIN_ACK = `${ACK}0`;
const DISCONNECT = "41";

export function socketIoDialect(): ClientDialect {
  const accuracy = new JsonNumberField("accuracy");
  const speed = new JsonNumberField("speed");
  return {
    opcode: Opcode.TEXT,
    handshake: () => ({ path: "/socket.io/?EIO=4&transport=websocket", headers: [] }),
    greeting: () => undefined,
    sentUs: (bytes, start, end) => (isEvent(bytes, start, end) ? accuracy.millionths(bytes, start, end) : -1),
    sender: (bytes, start, end) => speed.millionths(bytes, start, end) / 1_000_000,
    hear,
    locationFrame: ({ sender, room }) => {
      const location = { orderId: room, ...locationFields(sender), timestamp: Date.now() };
      return LocationFrame.ofText(Opcode.TEXT, `${EVENT}${JSON.stringify(["location", location])}`);
    },
  };
}

const FOUR = 0x34;
const TWO = 0x32;

function isEvent(bytes: Buffer, start: number, end: number): boolean {
  return start + 2 <= end && bytes[start] === FOUR && bytes[start + 1] === TWO;
}

function hear(seat: Seat, message: Buffer): Heard {
  const packet = message.toString();
  if (packet === PING) return { type: "say", payload: PONG };
  if (packet.startsWith(OPEN)) return say(`${CONNECT}${JSON.stringify({ token: seat.credentials })}`);
  if (packet.startsWith(CONNECT)) {
    // The number behind the type is the ack's.
    const say = Buffer.from(`${EVENT}0${JSON.stringify(["join", seat.room])}`);
    return { type: "welcomed", resumeToken: "", resumed: false, say };
  }
  if (packet.startsWith(JOIN_ACK)) return joined(seat, packet.slice(JOIN_ACK.length));
  if (packet.startsWith(CONNECT_ERROR) || packet.startsWith(DISCONNECT)) {
    return { type: "refused", reason: packet };
  }
  return { type: "nothing" };
}

function say(packet: string): Heard {
  return { type: "say", payload: Buffer.from(packet) };
}

function joined({ room }: Seat, args: string): Heard {
  const [answer] = JSON.parse(args) as readonly ({ readonly joined?: string } | null)[];
  if (answer?.joined === room) return { type: "entered", recovered: false };
  return { type: "refused", reason: `join was answered with ${args}` };
}
