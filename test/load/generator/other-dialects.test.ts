import { describe, expect, test } from "vitest";
import { bareWsDialect } from "./bare-ws-dialect.js";
import type { ClientDialect, Seat } from "./dialect.js";
import { socketIoDialect } from "./socket-io-dialect.js";

const SENT_US = 123_029_281_730;

const seat: Seat = {
  ...{ userId: "u1", room: "r1", sender: 3, senders: 4, roomSize: 5 },
  ...{ credentials: "token", localAddress: "127.0.1.1", endpoint: 0 },
};

const location = {
  ...{ orderId: "r1", workerId: "u2", latitude: 48.1, longitude: 11.5, heading: 271.5, speed: 2 },
  ...{ accuracy: SENT_US / 1e6, timestamp: 1_790_000_000_000 },
};

function sentUs(dialect: ClientDialect, text: string): number {
  const bytes = Buffer.from(`12345${text}"accuracy":7.5`);
  return dialect.sentUs(bytes, 5, 5 + text.length);
}

function hear(dialect: ClientDialect, text: string) {
  return dialect.hear(seat, Buffer.from(text));
}

/** The text of a message whose mask is zero. */
function textOf(frame: Buffer): string {
  const payloadAt = (frame[1] ?? 0) === (0x80 | 126) ? 8 : 6;
  expect(frame.readUInt32BE(payloadAt - 4)).toBe(0);
  return frame.toString("utf8", payloadAt);
}

function saidOf(payload: Uint8Array | undefined): string {
  return Buffer.from(payload ?? []).toString();
}

describe("the Socket.IO dialect", () => {
  const dialect = socketIoDialect();

  test("opens, connects with its token, joins its room and is in when that is acknowledged", () => {
    expect(dialect.greeting(seat, "")).toBeUndefined();
    const opened = hear(dialect, '0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}');
    expect(opened.type === "say" && saidOf(opened.payload)).toBe('40{"token":"token"}');
    const connected = hear(dialect, '40{"sid":"b"}');
    expect(connected.type === "welcomed" && saidOf(connected.say)).toBe('420["join","r1"]');
    expect(hear(dialect, '430[{"joined":"r1"}]')).toEqual({ type: "entered", recovered: false });
  });

  test("answers the heartbeat", () => {
    const heard = hear(dialect, "2");
    expect(heard.type === "say" && saidOf(heard.payload)).toBe("3");
  });

  test("is refused where its token is not taken, or its room", () => {
    const denied = '44{"message":"unauthorized"}';
    expect(hear(dialect, denied)).toEqual({ type: "refused", reason: denied });
    expect(hear(dialect, "430[null]")).toMatchObject({ type: "refused" });
  });

  test("finds when a location was sent and by whom, and takes nothing else for a delivery", () => {
    const event = `42${JSON.stringify(["location_update", location])}`;
    expect(sentUs(dialect, event)).toBe(SENT_US);
    expect(dialect.sender(Buffer.from(event), 0, event.length)).toBe(2);
    for (const text of ["2", "", '42["other",{}]', `430[${JSON.stringify(location)}]`]) {
      expect(sentUs(dialect, text)).toBe(-1);
    }
  });

  test("sends a location event with the time that it is given", () => {
    const text = textOf(dialect.locationFrame(seat).at(SENT_US));
    expect(text.slice(0, 2)).toBe("42");
    expect(JSON.parse(text.slice(2))).toMatchObject([
      "location",
      { orderId: "r1", speed: 3, accuracy: SENT_US / 1e6 },
    ]);
  });
});

describe("the dialect of bare ws", () => {
  const dialect = bareWsDialect();

  test("joins its room first and is in when that is answered", () => {
    expect(saidOf(dialect.greeting(seat, ""))).toBe('{"join":"r1"}');
    expect(hear(dialect, '{"joined":"r1"}')).toEqual({ type: "entered", recovered: false });
    expect(hear(dialect, '{"joined":"r2"}')).toMatchObject({ type: "error" });
  });

  test("hears its own location as it was sent", () => {
    const text = textOf(dialect.locationFrame(seat).at(SENT_US));
    expect(sentUs(dialect, text)).toBe(SENT_US);
    expect(dialect.sender(Buffer.from(text), 0, text.length)).toBe(3);
    expect(JSON.parse(text)).toMatchObject({ orderId: "r1", workerId: "u1", accuracy: SENT_US / 1e6 });
  });

  test("finds the time where fields before it have another length than last time", () => {
    for (const workerId of ["u2", "u2000", "u", "backend"]) {
      expect(sentUs(dialect, JSON.stringify({ ...location, workerId }))).toBe(SENT_US);
    }
    expect(sentUs(dialect, '{"joined":"r1"}')).toBe(-1);
  });
});
