import { describe, expect, test } from "vitest";
import { decodeClientFrame, encodeServerFrame } from "#proto/frame-codec.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import type { Seat } from "./dialect.js";
import { gatewayJsonDialect } from "./gateway-json-dialect.js";
import { gatewayProtobufDialect } from "./gateway-protobuf-dialect.js";

const SENT_US = 123_029_281_730;

const seat: Seat = {
  ...{ userId: "u1", room: "r1", sender: 3, senders: 4, roomSize: 5 },
  ...{ credentials: "token", localAddress: "127.0.1.1", endpoint: 0 },
};

function locationEvent(fields: Partial<Event> = {}): Event {
  const location = {
    ...{ workerId: "u2", latitude: 48.1, longitude: 11.5, heading: 271.5, speed: 2 },
    ...{ accuracy: SENT_US / 1e6, measuredAtMs: 1_790_000_000_000, orderId: "r1", available: undefined },
  };
  return {
    ...Event.fromPartial({ id: "c-1", channel: "order:r1", timeMs: 1_790_000_000_000, ...fields }),
    body: { $case: "location", value: location },
  };
}

type ServerBody = NonNullable<ServerFrame["body"]>;

describe.each([
  ["protobuf", Framing.FRAMING_PROTOBUF, gatewayProtobufDialect],
  ["JSON", Framing.FRAMING_JSON, gatewayJsonDialect],
] as const)("the gateway's %s dialect", (_, framing, makeDialect) => {
  const dialect = makeDialect();

  function frameOf(body: ServerBody, replyTo = 0): Buffer {
    return Buffer.from(encodeServerFrame(framing, { replyTo, body }));
  }

  function hear(body: ServerBody, replyTo = 0) {
    return dialect.hear(seat, frameOf(body, replyTo));
  }

  /** As it lies among others in what was read. */
  function sentUs(frame: Buffer): number {
    const bytes = Buffer.concat([Buffer.from("12345"), frame, Buffer.from('"accuracy":7.5')]);
    return dialect.sentUs(bytes, 5, 5 + frame.length);
  }

  function said(payload: Uint8Array | undefined) {
    return decodeClientFrame(framing, payload ?? new Uint8Array());
  }

  test("finds when a location was sent and by whom, whatever stands before it", () => {
    const events = [
      locationEvent(),
      locationEvent({ sender: { userId: "u2", role: "porter" }, correlationId: "c".repeat(200) }),
      locationEvent({ traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" }),
      locationEvent({ position: { epoch: "e1", offset: 2 ** 40, tag: 7 } }),
      locationEvent(),
    ];
    for (const event of events) {
      const frame = frameOf({ $case: "event", value: event });
      expect(sentUs(frame)).toBe(SENT_US);
      expect(dialect.sender(frame, 0, frame.length)).toBe(2);
    }
  });

  test("takes nothing else for a delivery", () => {
    const position = { epoch: "e", offset: 1, tag: 1 };
    const latest = [locationEvent()];
    const subscribed = { channel: "order:r1", position, recovered: true, latest, minSendIntervalMs: 0 };
    const status = Event.fromPartial({ id: "c-2", channel: "order:r1" });
    expect(sentUs(frameOf({ $case: "subscribed", value: subscribed }, 1))).toBe(-1);
    expect(sentUs(frameOf({ $case: "event", value: status }))).toBe(-1);
    expect(sentUs(frameOf({ $case: "reply", value: { position, id: "", timeMs: 0 } }, 1))).toBe(-1);
  });

  test("takes a frame that is cut off for none", () => {
    const frame = frameOf({ $case: "event", value: locationEvent() });
    for (let length = 0; length < frame.length / 2; length += 1) {
      expect(sentUs(Buffer.from(frame.subarray(0, length)))).toBe(-1);
    }
  });

  test("says at the handshake who it is and whether it resumes", () => {
    expect(dialect.handshake(seat, { resumes: false })).toEqual({
      path: "/ws",
      headers: [
        `Sec-WebSocket-Protocol: realtime.v1.${framing === Framing.FRAMING_JSON ? "json" : "protobuf"}`,
        "Authorization: Bearer token",
      ],
    });
    expect(dialect.handshake(seat, { resumes: true }).path).toBe("/ws?resume=true");
  });

  test("greets with the resume token alone, and only where it has one", () => {
    expect(dialect.greeting(seat, "")).toBeUndefined();
    expect(said(dialect.greeting(seat, "again")).body).toEqual({
      $case: "resume",
      value: { resumeToken: "again", positions: {} },
    });
  });

  const welcome = ServerFrame.fromPartial({
    body: { $case: "welcome", value: { sessionId: "s1", resumeToken: "again" } },
  } as ServerFrame).body;
  if (welcome?.$case !== "welcome") throw new Error("no welcome");

  test("subscribes to its order once it is welcome", () => {
    const heard = hear(welcome);
    expect(heard).toMatchObject({ type: "welcomed", resumeToken: "again", resumed: false });
    const frame = said(heard.type === "welcomed" ? heard.say : undefined);
    expect(frame).toMatchObject({ id: 1, body: { $case: "subscribe", value: { channel: "order:r1" } } });
  });

  test("says nothing where its session goes on: the channels come by themselves", () => {
    const heard = hear({ $case: "welcome", value: { ...welcome.value, resumed: true } });
    expect(heard).toEqual({ type: "welcomed", resumeToken: "again", resumed: true, say: undefined });
  });

  test("is in when its order's channel is followed, not its user's", () => {
    const subscribed = { position: undefined, recovered: true, latest: [], minSendIntervalMs: 0 };
    const to = (channel: string) => hear({ $case: "subscribed", value: { ...subscribed, channel } });
    expect(to("user:u1")).toEqual({ type: "nothing" });
    expect(to("order:r1")).toEqual({ type: "entered", recovered: true });
  });

  test("tells a refused subscription from an error about something else", () => {
    const value = { code: ErrorCode.ERROR_CODE_PERMISSION_DENIED, message: "no", field: "", retryAfterMs: 1 };
    const reason = "ERROR_CODE_PERMISSION_DENIED: no";
    expect(hear({ $case: "error", value }, 1)).toEqual({ type: "refused", reason });
    expect(hear({ $case: "error", value })).toEqual({ type: "error", reason });
  });

  test("sends a location that the gateway reads, with the time that it is given", () => {
    const location = dialect.locationFrame(seat);
    location.at(1);
    const frame = location.at(SENT_US);
    const payloadAt = (frame[1] ?? 0) === (0x80 | 126) ? 8 : 6;
    expect(frame.readUInt32BE(payloadAt - 4)).toBe(0);
    const { id, body } = said(frame.subarray(payloadAt));
    expect(id).toBe(0);
    expect(body).toMatchObject({
      $case: "locationUpdate",
      value: { latitude: 48.137154, speed: 3, accuracy: SENT_US / 1e6, orderId: "r1" },
    });
  });
});
