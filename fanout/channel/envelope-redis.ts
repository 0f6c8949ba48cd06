/**
 * What fanouts send each other through Redis pub/sub: a binary header, then the payload as it is.
 *
 *   byte 0    version, 1
 *   byte 1    kind: 1 durable, 2 latest, 3 ephemeral, 4 signal
 *   bytes 2–3 length of the whole header; later releases may append fields, which this one skips
 *   durable   tag (4 bytes), offset (8), length of the epoch (1), epoch, tag of the event before it (4)
 *   latest    version of the value (8), length of its key (2), key
 *   ephemeral id of the broker that sent it (8), length of the origin (2), origin
 *   signal    nothing
 *
 * Numbers are unsigned and big-endian, texts UTF-8. A message of an unknown version or kind is ignored.
 * Headers of durable events are written by `lua/publish-durable.lua`.
 */
import { readUint64, writeUint64 } from "#fanout/redis/reply.js";
import type { BrokerMessage, LatestValue } from "./broker.js";

const VERSION = 1;
const KIND = { durable: 1, latest: 2, ephemeral: 3, signal: 4 } as const;
const FIXED_BYTES = 4;

export const BROKER_ID_BYTES = 8;

export interface DecodedEnvelope {
  readonly message: BrokerMessage;
  /** Set for ephemeral messages: who sent it. */
  readonly brokerId?: Buffer;
}

/** A whole message, and how much of it is header. */
export function latestMessage({ key, version, payload }: LatestValue): {
  readonly headerBytes: number;
  readonly message: Buffer;
} {
  const headerBytes = FIXED_BYTES + 10 + Buffer.byteLength(key);
  const message = Buffer.allocUnsafe(headerBytes + payload.length);
  writeFixed(message, KIND.latest, headerBytes);
  writeUint64(message, version, FIXED_BYTES);
  writeText(message, key, FIXED_BYTES + 8);
  message.set(payload, headerBytes);
  return { headerBytes, message };
}

export function ephemeralEnvelope(brokerId: Buffer, origin: string, payload: Uint8Array): Buffer {
  const header = begin(KIND.ephemeral, BROKER_ID_BYTES + 2 + Buffer.byteLength(origin));
  brokerId.copy(header, FIXED_BYTES);
  writeText(header, origin, FIXED_BYTES + BROKER_ID_BYTES);
  return Buffer.concat([header, payload]);
}

export function signalEnvelope(signal: Uint8Array): Buffer {
  return Buffer.concat([begin(KIND.signal, 0), signal]);
}

/** Undefined for what a later release may have sent. */
export function decodeEnvelope(bytes: Buffer): DecodedEnvelope | undefined {
  if (bytes.length < FIXED_BYTES || bytes[0] !== VERSION) return undefined;
  const payload = bytes.subarray(bytes.readUInt16BE(2));
  switch (bytes[1]) {
    case KIND.durable: {
      const epochEnd = 17 + bytes.readUInt8(16);
      const position = {
        epoch: bytes.toString("utf8", 17, epochEnd),
        offset: readUint64(bytes, 8),
        tag: bytes.readUInt32BE(4),
      };
      // The release before this one sends none.
      const previous = bytes.readUInt16BE(2) >= epochEnd + 4 && { previousTag: bytes.readUInt32BE(epochEnd) };
      return { message: { type: "durable", position, ...previous, payload } };
    }
    case KIND.latest: {
      const key = readText(bytes, FIXED_BYTES + 8);
      return {
        message: { type: "latest", value: { key, version: readUint64(bytes, FIXED_BYTES), payload } },
      };
    }
    case KIND.ephemeral: {
      const origin = readText(bytes, FIXED_BYTES + BROKER_ID_BYTES);
      return {
        message: { type: "ephemeral", payload, origin },
        brokerId: bytes.subarray(FIXED_BYTES, FIXED_BYTES + BROKER_ID_BYTES),
      };
    }
    case KIND.signal:
      return { message: { type: "signal", signal: payload } };
    default:
      return undefined;
  }
}

function begin(kind: number, fieldBytes: number): Buffer {
  const header = Buffer.alloc(FIXED_BYTES + fieldBytes);
  writeFixed(header, kind, header.length);
  return header;
}

function writeFixed(message: Buffer, kind: number, headerBytes: number): void {
  message.writeUInt8(VERSION, 0);
  message.writeUInt8(kind, 1);
  message.writeUInt16BE(headerBytes, 2);
}

function writeText(header: Buffer, text: string, at: number): void {
  header.writeUInt16BE(Buffer.byteLength(text), at);
  header.write(text, at + 2, "utf8");
}

function readText(bytes: Buffer, at: number): string {
  const length = bytes.readUInt16BE(at);
  return bytes.toString("utf8", at + 2, at + 2 + length);
}
