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
  /** Hash: how many messages were said, and how far each user has got and read. */
  readonly chat: string;
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
  return new KeysOfChannel(partition, `${partition.prefix}channel:${subject}`);
}

/** Most channels are asked for two of their keys: only those stay in memory. */
class KeysOfChannel implements ChannelKeys {
  readonly latest: string;

  constructor(
    readonly partition: Partition,
    readonly pubsub: string,
  ) {
    this.latest = `${pubsub}:latest`;
  }

  get meta(): string {
    return `${this.pubsub}:meta`;
  }

  get history(): string {
    return `${this.pubsub}:history`;
  }

  get answers(): string {
    return `${this.pubsub}:answers`;
  }

  get answerOrder(): string {
    return `${this.pubsub}:answer-order`;
  }

  get participants(): string {
    return `${this.pubsub}:participants`;
  }

  get participantsVersion(): string {
    return `${this.pubsub}:participants-version`;
  }

  get chat(): string {
    return `${this.pubsub}:chat`;
  }

  get outbox(): string {
    return outboxOf(this.partition).outbox;
  }

  get outboxNews(): string {
    return outboxOf(this.partition).outboxNews;
  }
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

/** What is revoked. */
export interface RevocationKeys {
  readonly partition: Partition;
  /** Hash: by subject, what of it is revoked and until when. */
  readonly revocations: string;
  /** Sorted set: subjects by the version of their last change. */
  readonly versions: string;
  /** Sorted set: subjects by the end of their time. */
  readonly expiries: string;
  /** Epoch and version of the last change. */
  readonly mark: string;
  /** The sharded pub/sub channel that says when something was added. */
  readonly news: string;
}

export function revocationKeys(name = "revocations"): RevocationKeys {
  const partition = partitionOf(name);
  const base = `${partition.prefix}${name}`;
  return {
    partition,
    revocations: base,
    versions: `${base}:versions`,
    expiries: `${base}:expiries`,
    mark: `${base}:mark`,
    news: `${base}:news`,
  };
}

export function locationKey(app: string, workerId: string): PlacedKey {
  const subject = `${keyPart(app)}/${keyPart(workerId)}`;
  const partition = partitionOf(subject);
  return { partition, key: `${partition.prefix}location:${subject}` };
}

/** Who is in a cell of the earth. */
export interface LocationCellKeys {
  readonly partition: Partition;
  /** Geo set: the places of workers. */
  readonly places: string;
  /** Sorted set: the workers by the versions of their entries. */
  readonly versions: string;
}

export function locationCellKeys(app: string, cell: string): LocationCellKeys {
  const subject = `${keyPart(app)}/cell:${cell}`;
  const partition = partitionOf(subject);
  const places = `${partition.prefix}location-cell:${subject}`;
  return { partition, places, versions: `${places}:versions` };
}

/** Where a user's token bucket of a class of frames is kept, beside the user's others. */
export function limitKey(owner: { app: string; userId: string }, limitClass: string): PlacedKey {
  const { partition, base } = userBase(owner.app, owner.userId);
  return { partition, key: `${base}:limit:${keyPart(limitClass)}` };
}

export function edgeLeaseKey(incarnation: string): PlacedKey {
  const subject = `edge:${keyPart(incarnation)}`;
  const partition = partitionOf(subject);
  return { partition, key: `${partition.prefix}${subject}` };
}

/** What a partition knows of presence. */
export interface PresenceIndexKeys {
  readonly partition: Partition;
  /** Sorted set: subjects by the time at which something is to be done about them. */
  readonly due: string;
  /** Hash: how many users are online, by app. */
  readonly online: string;
  /** What the keys of places begin with; behind it stands the place. Hash: generations by connection. */
  readonly placePrefix: string;
}

export interface UserPresenceKeys extends PresenceIndexKeys {
  /** Hash: whether the user is there, since when they are not, and whether that was told. */
  readonly presence: string;
  /** Hash: generation and place of each connection. */
  readonly connections: string;
}

export interface MemberKeys extends PresenceIndexKeys {
  /** Hash: memberships by user. */
  readonly memberships: string;
  /** Sorted set: the members, in the order of their ids. */
  readonly members: string;
}

/** By the partition's index. */
export function presenceIndexKeys(index: number): PresenceIndexKeys {
  return presenceIndexOf(partitionAt(index));
}

export function userPresenceKeys(app: string, userId: string): UserPresenceKeys {
  const { partition, base } = userBase(app, userId);
  const presence = `${base}:presence`;
  return { ...presenceIndexOf(partition), presence, connections: `${presence}-connections` };
}

export function memberKeys(channel: Channel): MemberKeys {
  const { partition, pubsub: base } = channelKeys(channel);
  return { ...presenceIndexOf(partition), memberships: `${base}:memberships`, members: `${base}:members` };
}

/** Sorted set: places by the time of their last renewal. */
export function presencePlacesKey(): PlacedKey {
  const partition = partitionOf("presence-places");
  return { partition, key: `${partition.prefix}presence-places` };
}

function presenceIndexOf(partition: Partition): PresenceIndexKeys {
  const base = `${partition.prefix}presence`;
  return { partition, due: `${base}-due`, online: `${base}-online`, placePrefix: `${base}-place:` };
}

/** The offers of a partition. */
export interface OfferPartitionKeys extends OutboxKeys {
  /** Sorted set: the open offers by when time changes them. */
  readonly deadlines: string;
  /** Sorted set: the offers with changes that are not delivered, by the time of the oldest. */
  readonly undelivered: string;
}

export interface OfferKeys extends OfferPartitionKeys {
  /** Hash: the offer's terms and where it stands. */
  readonly offer: string;
  /** Hash: its changes that are not delivered, by revision. */
  readonly changes: string;
  /** Its name within the partition's sorted sets: `app/offer`. */
  readonly member: string;
}

export function offerKeys({ app, offerId }: { app: string; offerId: string }): OfferKeys {
  const subject = `${keyPart(app)}/offer:${keyPart(offerId)}`;
  const partition = partitionOf(subject);
  const offer = `${partition.prefix}offer:${subject}`;
  return {
    offer,
    changes: `${offer}:changes`,
    member: `${keyPart(app)}/${keyPart(offerId)}`,
    ...offersOf(partition),
  };
}

/** By the partition's index. */
export function offerPartitionKeys(index: number): OfferPartitionKeys {
  return offersOf(partitionAt(index));
}

/** The last fencing number of an order or ride. */
export function fencingNumberKey(app: string, subjectId: string): PlacedKey {
  const subject = `${keyPart(app)}/subject:${keyPart(subjectId)}`;
  const partition = partitionOf(subject);
  return { partition, key: `${partition.prefix}fencing-number:${subject}` };
}

/** Sorted set: the offers that a user was asked about, by when their time is over. */
export function askedOffersKey(app: string, userId: string): PlacedKey {
  const { partition, base } = userBase(app, userId);
  return { partition, key: `${base}:offers` };
}

/** Hash: which notifications a user has seen, by channel. */
export function seenKey(app: string, userId: string): PlacedKey {
  const { partition, base } = userBase(app, userId);
  return { partition, key: `${base}:seen` };
}

function offersOf(partition: Partition): OfferPartitionKeys {
  const { prefix } = partition;
  return {
    deadlines: `${prefix}offer-deadlines`,
    undelivered: `${prefix}offers-undelivered`,
    ...outboxOf(partition),
  };
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
