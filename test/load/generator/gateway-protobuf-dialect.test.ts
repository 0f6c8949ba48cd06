import { expect, test } from "vitest";
import { encodeServerFrame } from "#proto/frame-codec.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { accuracyTextOf, monotonicUs } from "../send-time.js";
import { gatewayProtobufDialect } from "./gateway-protobuf-dialect.js";
import { wireUs } from "./wire-time.js";

const { sentUs } = gatewayProtobufDialect();

function statusFrame(message: string): Buffer {
  const event = Event.fromPartial({ id: "e-1", channel: "order:r1", correlationId: "order-r1" });
  const position = { epoch: "e", offset: 7, tag: 1 };
  const status = { orderId: "r1", status: "picked_up", previousStatus: "ready", message, workerId: "w1" };
  const value: Event = {
    ...event,
    position,
    body: { $case: "orderStatus", value: { ...status, data: undefined } },
  };
  return Buffer.from(
    encodeServerFrame(Framing.FRAMING_PROTOBUF, { replyTo: 0, body: { $case: "event", value } }),
  );
}

test("an order's status is a delivery where its message says when it was sent", () => {
  const now = monotonicUs();
  const frame = statusFrame(accuracyTextOf(now));
  expect(sentUs(frame, 0, frame.length)).toBe(wireUs(now));
});

test("an order's status with another message is none", () => {
  const frame = statusFrame("On the way");
  expect(sentUs(frame, 0, frame.length)).toBe(-1);
});
