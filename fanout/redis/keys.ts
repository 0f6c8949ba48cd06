/**
 * Every key that the fanout has in Redis, in one place. Keys of one subject begin with the hash tag of its
 * partition; ids go through `keyPart`, so nothing of a user's text stands in a key unencoded.
 */
import type { Channel } from "#fanout/channel/channel.js";
import { keyPart, partitionOf, type Partition } from "./partitions.js";

/** The keys of one subject. */
export interface ChannelKeys {
  readonly partition: Partition;
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
  /** The sharded pub/sub channel. */
  readonly pubsub: string;
  /** Stream of the partition: what has to reach Kafka. */
  readonly outbox: string;
}

export interface UserKeys {
  readonly partition: Partition;
  /** Hash: what the user takes part in. */
  readonly participations: string;
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

export function channelKeys(channel: Channel): ChannelKeys {
  const subject = `${keyPart(channel.app)}/${keyPart(channel.kind)}:${keyPart(channel.id)}`;
  const partition = partitionOf(subject);
  const base = `${partition.prefix}channel:${subject}`;
  return {
    partition,
    meta: `${base}:meta`,
    history: `${base}:history`,
    answers: `${base}:answers`,
    answerOrder: `${base}:answer-order`,
    latest: `${base}:latest`,
    participants: `${base}:participants`,
    pubsub: base,
    outbox: `${partition.prefix}outbox`,
  };
}

export function userKeys(app: string, userId: string): UserKeys {
  const subject = `${keyPart(app)}/user:${keyPart(userId)}`;
  const partition = partitionOf(subject);
  const base = `${partition.prefix}user:${subject}`;
  return { partition, participations: `${base}:participations`, sessions: `${base}:sessions` };
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
