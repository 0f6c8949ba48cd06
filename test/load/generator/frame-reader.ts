/**
 * Takes a server's WebSocket frames out of a byte stream that may be cut anywhere. Whole frames are told in
 * place, by where they lie in the bytes that were read: nothing is copied but a frame that is cut. Servers of
 * the benchmark neither mask nor fragment nor compress: such a frame is an error, not a case.
 */

export const Opcode = { TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

export interface FrameSink {
  /** Told where the payload lies in `bytes`; they are another frame's as soon as this returns. */
  frame(opcode: number, bytes: Buffer, start: number, end: number): void;
}

const FINAL = 0x80;
const MASKED = 0x80;
/** No frame of the benchmark is as large: what says so is out of step. */
const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024;

export class FrameError extends Error {}

export class FrameReader {
  /** The beginning of a frame whose rest is still to come. */
  #begun: Buffer | undefined;
  readonly #sink: FrameSink;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** @throws FrameError where the bytes are no frames of a server. */
  read(bytes: Buffer, length: number): void {
    if (this.#begun === undefined) {
      this.#readWhole(bytes, 0, length);
      return;
    }
    const all = Buffer.concat([this.#begun, bytes.subarray(0, length)]);
    this.#begun = undefined;
    this.#readWhole(all, 0, all.length);
  }

  #readWhole(bytes: Buffer, from: number, to: number): void {
    let index = from;
    while (index < to) {
      const payloadAt = index + headerBytes(bytes, index, to);
      if (payloadAt > to) break;
      const length = payloadBytes(bytes, index);
      if (length > MAX_PAYLOAD_BYTES) throw new FrameError(`a frame of ${length} bytes`);
      const end = payloadAt + length;
      if (end > to) break;
      const first = bytes[index] ?? 0;
      if ((first & 0xf0) !== FINAL) throw new FrameError("a fragment, or reserved bits");
      this.#sink.frame(first & 0x0f, bytes, payloadAt, end);
      index = end;
    }
    if (index < to) this.#begun = Buffer.from(bytes.subarray(index, to));
  }
}

/** More than there is, where not even the length has come. */
function headerBytes(bytes: Buffer, index: number, to: number): number {
  if (index + 2 > to) return 2;
  const second = bytes[index + 1] ?? 0;
  if ((second & MASKED) !== 0) throw new FrameError("a masked frame");
  return second < 126 ? 2 : second === 126 ? 4 : 10;
}

function payloadBytes(bytes: Buffer, index: number): number {
  const short = bytes[index + 1] ?? 0;
  if (short < 126) return short;
  if (short === 126) return bytes.readUInt16BE(index + 2);
  return Number(bytes.readBigUInt64BE(index + 2));
}
