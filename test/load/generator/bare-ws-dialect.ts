/**
 * The smallest thing that one could write with `ws`: a client says which room it is in, is told that it is, and
 * from then on whatever it sends is relayed as it is to everybody in the room. So a location is the same text
 * on its way in and out, and holds who sent it.
 */
import type { ClientDialect, Heard, Seat } from "./dialect.js";
import { Opcode } from "./frame-reader.js";
import { JsonNumberField } from "./json-number-field.js";
import { LocationFrame, locationFields } from "./location-frame.js";

export function bareWsDialect(): ClientDialect {
  const accuracy = new JsonNumberField("accuracy");
  const speed = new JsonNumberField("speed");
  return {
    opcode: Opcode.TEXT,
    handshake: () => ({ path: "/", headers: [] }),
    greeting: ({ room }) => Buffer.from(JSON.stringify({ join: room })),
    sentUs: (bytes, start, end) => accuracy.millionths(bytes, start, end),
    sender: (bytes, start, end) => speed.millionths(bytes, start, end) / 1_000_000,
    hear,
    locationFrame: ({ userId, sender, room }) => {
      const location = { orderId: room, workerId: userId, ...locationFields(sender), timestamp: Date.now() };
      return LocationFrame.ofText(Opcode.TEXT, JSON.stringify(location));
    },
  };
}

function hear({ room }: Seat, message: Buffer): Heard {
  const { joined } = JSON.parse(message.toString()) as { readonly joined?: string };
  if (joined === room) return { type: "entered", recovered: false };
  return { type: "error", reason: message.toString() };
}
