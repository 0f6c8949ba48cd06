/**
 * The gateway's native framing in protobuf (docs/protocol.md, subprotocol `realtime.v1.protobuf`). A delivery
 * is `ServerFrame.event.location`, or an `order_status` whose message is an accuracy as text (events from
 * Kafka and the API); the numbers of the fields are those of proto/realtime/client/v1.
 */
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { ClientDialect, Heard, Seat } from "./dialect.js";
import { Opcode } from "./frame-reader.js";
import { gatewayHandshake, hearGateway, locationUpdate, type GatewayFrame } from "./gateway-entry.js";
import { LocationFrame } from "./location-frame.js";
import { ProtobufWalk } from "./protobuf-walk.js";
import { readAccuracyText, wireUsOf } from "./wire-time.js";

const LENGTH_DELIMITED = 2;
const FIXED_64 = 1;

const FRAME_EVENT = 15 * 8 + LENGTH_DELIMITED;
const EVENT_LOCATION = 23 * 8 + LENGTH_DELIMITED;
const EVENT_ORDER_STATUS = 20 * 8 + LENGTH_DELIMITED;
const ORDER_STATUS_MESSAGE = 4 * 8 + LENGTH_DELIMITED;
const LOCATION_SPEED = 5 * 8 + FIXED_64;
const LOCATION_ACCURACY = 6 * 8 + FIXED_64;

export function gatewayProtobufDialect(): ClientDialect {
  const walk = new ProtobufWalk();
  /** Leaves `walk` at a double of the location; false where the frame is no location event. */
  const findInLocation = (bytes: Buffer, start: number, end: number, tag: number): boolean =>
    walk.find(bytes, start, end, FRAME_EVENT) &&
    walk.find(bytes, walk.start, walk.end, EVENT_LOCATION) &&
    walk.find(bytes, walk.start, walk.end, tag);

  const findStatusMessage = (bytes: Buffer, start: number, end: number): boolean =>
    walk.find(bytes, start, end, FRAME_EVENT) &&
    walk.find(bytes, walk.start, walk.end, EVENT_ORDER_STATUS) &&
    walk.find(bytes, walk.start, walk.end, ORDER_STATUS_MESSAGE);

  return {
    opcode: Opcode.BINARY,
    handshake: (seat, options) => gatewayHandshake("realtime.v1.protobuf", seat, options),
    greeting: (_, resumeToken) => (resumeToken === "" ? undefined : encode(resume(resumeToken))),
    sentUs: (bytes, start, end) => {
      if (findInLocation(bytes, start, end, LOCATION_ACCURACY))
        return wireUsOf(bytes.readDoubleLE(walk.start));
      return findStatusMessage(bytes, start, end) ? readAccuracyText(bytes, walk.start, walk.end) : -1;
    },
    sender: (bytes, start, end) =>
      findInLocation(bytes, start, end, LOCATION_SPEED) ? bytes.readDoubleLE(walk.start) : 0,
    hear: (seat, message) => hear(seat, message),
    locationFrame: (seat) => LocationFrame.ofBinary(Opcode.BINARY, encode({ body: locationUpdate(seat) })),
  };
}

function resume(resumeToken: string): GatewayFrame {
  return { body: { $case: "resume", value: { resumeToken, positions: {} } } };
}

function encode(frame: GatewayFrame): Uint8Array {
  return ClientFrame.encode({ ...EMPTY_FRAME, ...frame }).finish();
}

const EMPTY_FRAME: ClientFrame = ClientFrame.fromPartial({});

function hear(seat: Seat, message: Buffer): Heard {
  const { replyTo, body } = ServerFrame.decode(message);
  switch (body?.$case) {
    case "welcome":
      return hearGateway(seat, encode, { type: "welcome", ...body.value });
    case "subscribed":
      return hearGateway(seat, encode, { type: "subscribed", ...body.value });
    case "unsubscribed":
      return hearGateway(seat, encode, { type: "unsubscribed", ...body.value });
    case "error":
      return hearGateway(seat, encode, {
        ...{ type: "error", replyTo, message: body.value.message },
        code: ERROR_NAMES.get(body.value.code) ?? "unknown",
      });
    default:
      return { type: "nothing" };
  }
}

const ERROR_NAMES = new Map(Object.entries(ErrorCode).map(([name, code]) => [code, name]));
