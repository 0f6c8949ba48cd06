import { describe, expect, it } from "vitest";
import { encode } from "./encode.js";
import { Event } from "./gen/realtime/client/v1/event.js";
import { ServerFrame } from "./gen/realtime/client/v1/server_frame.js";

const eventOf = (text: string): Event => ({ ...Event.fromPartial({ id: "e", correlationId: text }) });

describe("encoding a message", () => {
  it("gives what a writer of its own would give, in a buffer that nothing else is in", () => {
    const texts = ["", "short", "ü".repeat(500), "x".repeat(300_000), "after a large one"];
    const encoded = texts.map((text) => encode(Event, eventOf(text)));
    for (const [index, bytes] of encoded.entries()) {
      const expected = Event.encode(eventOf(texts[index] ?? "")).finish();
      expect(Buffer.compare(bytes, expected)).toBe(0);
      expect(bytes.buffer.byteLength).toBe(bytes.length);
    }
  });

  it("is not disturbed by one that threw in the middle", () => {
    const impossible = { ...ServerFrame.fromPartial({}), replyTo: -1 };
    expect(() => encode(ServerFrame, impossible)).toThrow();
    expect(Event.decode(encode(Event, eventOf("whole")))).toEqual(eventOf("whole"));
  });
});
