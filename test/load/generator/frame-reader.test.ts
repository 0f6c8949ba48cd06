import { describe, expect, test } from "vitest";
import { clientFrame } from "./client-frame.js";
import { FrameError, FrameReader, Opcode } from "./frame-reader.js";

/** As a server sends it: without a mask. */
function serverFrame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const header = length < 126 ? Buffer.alloc(2) : length < 65_536 ? Buffer.alloc(4) : Buffer.alloc(10);
  header[0] = 0x80 | opcode;
  header[1] = header.length === 2 ? length : header.length === 4 ? 126 : 127;
  if (header.length === 4) header.writeUInt16BE(length, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([header, payload]);
}

interface Read {
  readonly opcode: number;
  readonly payload: string;
}

/** What a reader tells of these pieces, each read into the same buffer, as sockets are. */
function read(pieces: readonly Buffer[]): readonly Read[] {
  const frames: Read[] = [];
  const reader = new FrameReader({
    frame: (opcode, bytes, start, end) =>
      void frames.push({ opcode, payload: bytes.toString("latin1", start, end) }),
  });
  const shared = Buffer.alloc(200_000);
  for (const piece of pieces) {
    shared.fill(0xff);
    piece.copy(shared);
    reader.read(shared, piece.length);
  }
  return frames;
}

const sent: readonly Read[] = [
  { opcode: Opcode.TEXT, payload: "" },
  { opcode: Opcode.BINARY, payload: "b".repeat(125) },
  { opcode: Opcode.TEXT, payload: "t".repeat(126) },
  { opcode: Opcode.PING, payload: "ping" },
  { opcode: Opcode.BINARY, payload: "x".repeat(300) },
];
const stream = Buffer.concat(sent.map(({ opcode, payload }) => serverFrame(opcode, Buffer.from(payload))));

describe("frames are read", () => {
  test("all out of one piece", () => {
    expect(read([stream])).toEqual(sent);
  });

  test("the same wherever the stream is cut", () => {
    for (let cut = 0; cut <= stream.length; cut += 1) {
      expect(read([stream.subarray(0, cut), stream.subarray(cut)])).toEqual(sent);
    }
  });

  test("byte by byte", () => {
    expect(read(Array.from(stream, (byte) => Buffer.from([byte])))).toEqual(sent);
  });

  test("with more than 65,535 bytes, in pieces", () => {
    const large = serverFrame(Opcode.BINARY, Buffer.alloc(70_000, "l"));
    const pieces = [large.subarray(0, 5), large.subarray(5, 40_000), large.subarray(40_000), stream];
    expect(read(pieces)).toEqual([{ opcode: Opcode.BINARY, payload: "l".repeat(70_000) }, ...sent]);
  });
});

test.each([
  ["masked", clientFrame(Opcode.TEXT, Buffer.from("masked"))],
  ["a fragment", Buffer.from([0x01, 0x00])],
  ["compressed", Buffer.from([0xc1, 0x00])],
  ["larger than any of the benchmark", Buffer.from([0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0])],
])("a frame that is %s is refused", (_, bytes) => {
  expect(() => read([bytes])).toThrow(FrameError);
});
