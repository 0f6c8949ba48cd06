/**
 * WebSocket frames as a server sends them (RFC 6455, section 5.2): unmasked, unfragmented, without
 * extensions. A frame is built once and written to as many sockets as want it.
 */
const FINAL = 0x80;

export const Opcode = { TEXT: 0x1, BINARY: 0x2, PING: 0x9 } as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

export function websocketFrame(opcode: Opcode, payload: Uint8Array): Buffer {
  const { length } = payload;
  const headerBytes = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(headerBytes + length);
  frame[0] = FINAL | opcode;
  if (headerBytes === 2) frame[1] = length;
  else if (headerBytes === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.set(payload, headerBytes);
  return frame;
}

const PING_BYTES = 4;

/** A ping that carries its number, so that its pong can be told from others: 1 to 2³² − 1. */
export function pingFrame(number: number): Buffer {
  const payload = Buffer.alloc(PING_BYTES);
  payload.writeUInt32BE(number);
  return websocketFrame(Opcode.PING, payload);
}

/** The number of the ping that a pong answers; 0 where it answers none of ours. */
export function pingNumber(pong: Buffer): number {
  return pong.length === PING_BYTES ? pong.readUInt32BE() : 0;
}
