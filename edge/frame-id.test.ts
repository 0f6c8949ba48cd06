import { describe, expect, it } from "vitest";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { frameId } from "./frame-id.js";

const json = (text: string): number => frameId(Framing.FRAMING_JSON, Buffer.from(text));
const protobuf = (bytes: Uint8Array): number => frameId(Framing.FRAMING_PROTOBUF, bytes);

describe("the id of a frame", () => {
  it.each([0, 1, 127, 128, 16_383, 16_384, 300_000_000, 0xffff_ffff])("%i is read in both framings", (id) => {
    const frame = ClientFrame.fromPartial({ id, requestId: "r", body: { $case: "ping", value: {} } });
    expect(protobuf(ClientFrame.encode(frame).finish())).toBe(id);
    expect(json(JSON.stringify({ ping: {}, id }))).toBe(id);
    expect(json(JSON.stringify({ id: String(id) }))).toBe(id);
  });

  it.each([
    "",
    "{",
    "null",
    "[1]",
    "7",
    '{"id":-1}',
    '{"id":1.5}',
    '{"id":4294967296}',
    '{"id":{}}',
    '{"id":"x"}',
  ])("is 0 in %s, which has none", (text) => expect(json(text)).toBe(0));

  it("is not taken from a prototype, nor from where an id is nested", () => {
    expect(json('{"__proto__":{"id":5}}')).toBe(0);
    expect(json('{"ping":{"id":5}}')).toBe(0);
  });

  it("does not care how deep the rest is", () => {
    expect(json(`{"id":5,"x":${"[".repeat(100_000)}${"]".repeat(100_000)}}`)).toBe(5);
  });

  it.each([
    [[]],
    [[0x08]],
    [[0x08, 0xff]],
    [[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    [[0x08, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    [[0x12, 0x01, 0x61]],
  ])("is 0 in the bytes %j, which have none", (bytes) => expect(protobuf(Uint8Array.from(bytes))).toBe(0));
});
