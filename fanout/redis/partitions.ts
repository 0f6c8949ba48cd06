/**
 * Where keys live. All keys of one subject (a channel, a user, a worker) share the hash tag of one of 128
 * fixed partitions, so that one script never touches two Redis Cluster slots. The tags are found once, when
 * this file loads: one for each 128th of the 16384 slots, so that nodes with like numbers of slots hold like
 * numbers of partitions. The result never changes for a given PARTITION_COUNT: it is part of the key schema.
 */
import { createHash } from "node:crypto";
import { eventTag } from "#proto/event-tag.js";
import { isIdentifier } from "#fanout/channel/channel.js";

export const PARTITION_COUNT = 128;
export const SLOT_COUNT = 16_384;

export interface Partition {
  readonly index: number;
  /** What stands between the braces of each of its keys. */
  readonly tag: string;
  /** The beginning of each of its keys: `{tag}:`. */
  readonly prefix: string;
}

/** The Redis Cluster slot of a hash tag: CRC-16/XMODEM modulo 16384. */
export function slotOf(tag: string): number {
  let crc = 0;
  for (const byte of Buffer.from(tag, "utf8")) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
  }
  return crc % SLOT_COUNT;
}

export const PARTITIONS: readonly Partition[] = findPartitions();

/** The partition of a subject, named as in "app/order:42". */
export function partitionOf(subject: string): Partition {
  return partitionAt(mix(eventTag(subject)) % PARTITION_COUNT);
}

export function partitionAt(index: number): Partition {
  const partition = PARTITIONS[index];
  if (partition === undefined) throw new RangeError("a partition index out of range");
  return partition;
}

/**
 * An id as a part of a key. Identifiers stay readable; anything else is hashed behind a `~`, which no
 * identifier has: no id can steer a key, and no two ids make the same one.
 */
export function keyPart(id: string): string {
  return isIdentifier(id) ? id : `~${createHash("sha256").update(id).digest("base64url")}`;
}

/** FNV-1a's low bits depend on the low bits of its input alone; this spreads them (murmur3's finalizer). */
function mix(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function findPartitions(): Partition[] {
  const slotsEach = SLOT_COUNT / PARTITION_COUNT;
  const found = new Map<number, Partition>();
  for (let candidate = 0; found.size < PARTITION_COUNT; candidate++) {
    const tag = candidate.toString(36);
    const index = Math.floor(slotOf(tag) / slotsEach);
    if (!found.has(index)) found.set(index, { index, tag, prefix: `{${tag}}:` });
  }
  return [...found.values()].sort((left, right) => left.index - right.index);
}
