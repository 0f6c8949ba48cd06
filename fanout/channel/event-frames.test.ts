import { describe, expect, it } from "vitest";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { eventOf, location, status } from "#test/support/fanout-core.js";
import { EventFrames, varintBytes, writeVarint } from "./event-frames.js";

const POSITION = { epoch: "0f", offset: 2 ** 40, tag: 0xffff_ffff };

describe("an event's frames", () => {
  it.each([
    ["short", status("paid")],
    ["longer than a length of one byte says", status("x".repeat(64))],
    ["long", { ...status("any"), value: { ...status("any").value, message: "m".repeat(20_000) } }],
  ])("hold the event and its position in protobuf: %s", (_what, body) => {
    const event = { ...eventOf(body as NonNullable<Event["body"]>), id: "e1" };
    const frames = new EventFrames(Event.encode(event).finish(), POSITION);
    expect(ServerFrame.decode(frames.protobuf)).toEqual({
      replyTo: 0,
      body: { $case: "event", value: Event.decode(Event.encode({ ...event, position: POSITION }).finish()) },
    });
  });

  it("hold the same in JSON, and have no position where the event has none", () => {
    const frames = new EventFrames(Event.encode(eventOf(location("p1", 1.5))).finish());
    expect(JSON.parse(Buffer.from(frames.json).toString())).toEqual({
      event: { location: { workerId: "p1", latitude: 1.5, measuredAtMs: "1" } },
    });
    expect(frames.bodyName).toBe("location");
  });

  it("are encoded once for each framing", () => {
    const frames = new EventFrames(Event.encode(eventOf(status("paid"))).finish(), POSITION);
    expect(frames.in(Framing.FRAMING_JSON)).toBe(frames.in(Framing.FRAMING_JSON));
    expect(frames.in(Framing.FRAMING_PROTOBUF)).toBe(frames.protobuf);
  });
});

describe("a varint", () => {
  it.each([0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER])(
    "of %d is read back",
    (value) => {
      const buffer = new Uint8Array(10);
      const end = writeVarint(buffer, 0, value);
      expect(end).toBe(varintBytes(value));
      let read = 0n;
      for (let index = end - 1; index >= 0; index -= 1)
        read = read * 128n + BigInt((buffer[index] ?? 0) & 0x7f);
      expect(Number(read)).toBe(value);
    },
  );
});
