/**
 * Reads replies of Redis, whose shape the compiler cannot know. A reply of another shape is a fault of a
 * script and throws; strings come as Buffers, so that any bytes survive.
 */
export function listOf(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw new TypeError("Redis answered with something else than a list");
  return reply;
}

export function bytesOf(reply: unknown): Buffer {
  if (!Buffer.isBuffer(reply)) throw new TypeError("Redis answered with something else than bytes");
  return reply;
}

/** Undefined where Redis answered nil. */
export function optionalBytesOf(reply: unknown): Buffer | undefined {
  return reply === null || reply === undefined ? undefined : bytesOf(reply);
}

/** An integer, or bytes that spell one; `absent` for nil. */
export function integerOf(reply: unknown, absent = 0): number {
  if (reply === null || reply === undefined) return absent;
  const value = typeof reply === "number" ? reply : Number(bytesOf(reply).toString("latin1"));
  if (!Number.isSafeInteger(value)) throw new TypeError("Redis answered with something else than an integer");
  return value;
}

/** A flat list of fields and values, as of HGETALL in a script. */
export function* pairsOf(reply: unknown): Generator<readonly [field: Buffer, value: Buffer]> {
  const list = listOf(reply);
  for (let index = 0; index + 1 < list.length; index += 2) {
    yield [bytesOf(list[index]), bytesOf(list[index + 1])];
  }
}

/** A 64-bit unsigned big-endian number below 2^53. */
export function readUint64(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}

export function writeUint64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at);
  bytes.writeUInt32BE(value % 0x1_0000_0000, at + 4);
}
