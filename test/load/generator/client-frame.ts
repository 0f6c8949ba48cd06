/**
 * WebSocket frames as a client sends them. RFC 6455 wants them masked; a mask of zeros is one, and leaves the
 * payload as it is, so that a frame can be built once and its send time written over in place.
 */

const FINAL = 0x80;
const MASKED = 0x80;
const MASK_BYTES = 4;

export function clientFrame(opcode: number, payload: Uint8Array): Buffer {
  const headerBytes = clientHeaderBytes(payload.length);
  const frame = Buffer.alloc(headerBytes + payload.length);
  frame[0] = FINAL | opcode;
  if (payload.length < 126) frame[1] = MASKED | payload.length;
  else if (payload.length < 65_536) {
    frame[1] = MASKED | 126;
    frame.writeUInt16BE(payload.length, 2);
  } else {
    frame[1] = MASKED | 127;
    frame.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  frame.set(payload, headerBytes);
  return frame;
}

/** Bytes before the payload. */
export function clientHeaderBytes(payloadBytes: number): number {
  return (payloadBytes < 126 ? 2 : payloadBytes < 65_536 ? 4 : 10) + MASK_BYTES;
}
