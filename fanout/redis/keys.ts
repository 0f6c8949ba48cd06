/**
 * Every key that the fanout has in Redis, in one place. Keys of one subject begin with the hash tag of its
 * partition; ids go through `keyPart`, so nothing of a user's text stands in a key unencoded.
 */
import type { Channel } from "#fanout/channel/channel.js";
import { keyPart, partitionAt, partitionOf, type Partition } from "./partitions.js";

/** The outbox of a partition. */
export interface OutboxKeys {
  readonly partition: Partition;
  /** Stream: what has to reach Kafka. */
  readonly outbox: string;
  /** The sharded pub/sub channel that says when something was added to it. */
  readonly outboxNews: string;
}

/** The keys of one subject, and of its partition's outbox. */
export interface ChannelKeys extends OutboxKeys {
  /** Hash: epoch, offset, tag and time of the last event; versions by subject; marks by source. */
  readonly meta: string;
  /** Stream: the durable events, with the offset as id. */
  readonly history: string;
  /** Hash: the answers to publishes, by the digest of their idempotency key. */
  readonly answers: string;
  /** List: those digests, oldest first. */
  readonly answerOrder: string;
  /** Hash: latest values by conflation key. */
  readonly latest: string;
  /** Hash: who takes part. */
  readonly participants: string;
  /** Changes with it. */
  readonly participantsVersion: string;
  /** The sharded pub/sub channel. */
  readonly pubsub: string;
}

export interface UserKeys {
  readonly partition: Partition;
  /** Hash: what the user takes part in. */
  readonly participations: string;
  /** Changes with it. */
  readonly participationsVersion: string;
  /** Hash: the user's connections. */
  readonly sessions: string;
}

/** One key and its partition. */
export interface PlacedKey {
  readonly partition: Partition;
  readonly key: string;
}

/** Guards the layout that this file describes; holds its version and the partition count. */
export const SCHEMA_KEY = "realtime-gateway:schema";
export const SCHEMA_VERSION = 1;
/** Signs resume tokens; the same for all gateways on this store. */
export const RESUME_KEY = "realtime-gateway:resume-key";

/** Asked for with each event: made once for each channel that is in use. */
const keysOfChannels = new WeakMap<Channel, ChannelKeys>();

export function channelKeys(channel: Channel): ChannelKeys {
  const known = keysOfChannels.get(channel);
  if (known !== undefined) return known;
  const keys = makeChannelKeys(channel);
  keysOfChannels.set(channel, keys);
  return keys;
}

function makeChannelKeys(channel: Channel): ChannelKeys {
  const subject = `${keyPart(channel.app)}/${keyPart(channel.kind)}:${keyPart(channel.id)}`;
  const partition = partitionOf(subject);
  const base = `${partition.prefix}channel:${subject}`;
  return {
    meta: `${base}:meta`,
    history: `${base}:history`,
    answers: `${base}:answers`,
    answerOrder: `${base}:answer-order`,
    latest: `${base}:latest`,
    participants: `${base}:participants`,
    participantsVersion: `${base}:participants-version`,
    pubsub: base,
    ...outboxOf(partition),
  };
}

/** Lost only with the partition's data: see `partition-sentinels.ts`. */
export function sentinelKey(partition: Partition): string {
  return `${partition.prefix}sentinel`;
}

/** By the partition's index. */
export function outboxKeys(index: number): OutboxKeys {
  return outboxOf(partitionAt(index));
}

export function outboxLeaseKey(lease: number, partitionIndex: number): PlacedKey {
  const partition = partitionAt(partitionIndex);
  return { partition, key: `${partition.prefix}outbox-lease:${lease}` };
}

export function userKeys(app: string, userId: string): UserKeys {
  const { partition, base } = userBase(app, userId);
  const participations = `${base}:participations`;
  return {
    partition,
    participations,
    participationsVersion: `${participations}-version`,
    sessions: `${base}:sessions`,
  };
}

/** Where a session's record for resumes is kept, beside its user's others. */
export interface ResumableKeys {
  readonly partition: Partition;
  /** Hash: generation, connection, home, and a cursor for each channel. */
  readonly record: string;
  /** What the keys of the user's records begin with; behind it stands `part`. */
  readonly recordPrefix: string;
  readonly part: string;
  /** Sorted set: the parts of the user's records by the time of their last save. */
  readonly index: string;
}

export function resumableKeys(owner: { app: string; userId: string }, sessionId: string): ResumableKeys {
  const { partition, base } = userBase(owner.app, owner.userId);
  const part = keyPart(sessionId);
  const recordPrefix = `${base}:resumable:`;
  return { partition, record: `${recordPrefix}${part}`, recordPrefix, part, index: `${base}:resumables` };
}

export function locationKey(app: string, workerId: string): PlacedKey {
  const subject = `${keyPart(app)}/${keyPart(workerId)}`;
  const partition = partitionOf(subject);
  return { partition, key: `${partition.prefix}location:${subject}` };
}

export function edgeLeaseKey(incarnation: string): PlacedKey {
  const subject = `edge:${keyPart(incarnation)}`;
  const partition = partitionOf(subject);
  return { partition, key: `${partition.prefix}${subject}` };
}

function userBase(app: string, userId: string): { readonly partition: Partition; readonly base: string } {
  const subject = `${keyPart(app)}/user:${keyPart(userId)}`;
  const partition = partitionOf(subject);
  return { partition, base: `${partition.prefix}user:${subject}` };
}

function outboxOf(partition: Partition): OutboxKeys {
  const outbox = `${partition.prefix}outbox`;
  return { partition, outbox, outboxNews: `${outbox}-news` };
}
