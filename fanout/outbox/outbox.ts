/**
 * The outbox port: events that must reach Kafka, stored in the same step as in their channel, one queue for
 * each of the store's partitions; and the leases by which relays share the partitions out. Publishing fills it
 * (`channel/broker.ts`), a relay empties it (`outbox-relay.ts`).
 *
 * No lease is needed for safety, so none has a fencing number. Whoever relays reads from the oldest entry on,
 * sends in order, and removes only what it has itself sent and seen stored: an entry that is gone was sent,
 * so in whatever way two relays overlap, nothing is lost and each key is in order on first occurrence. What a
 * lease saves is the repeats.
 *
 * Implementations: `outbox-memory.ts`, `outbox-redis.ts`; one contract suite: `outbox.contract.ts`. Every
 * method but `unlisten` fails with GatewayError `unavailable` while the store is away.
 */
import { PARTITION_COUNT } from "#fanout/redis/partitions.js";

export const LEASE_COUNT = 8;
const PARTITIONS_EACH = PARTITION_COUNT / LEASE_COUNT;

/** The partitions of each lease: neighbours, which in a cluster lie on one node and fail together. */
export const LEASED_PARTITIONS: readonly (readonly number[])[] = Array.from(
  { length: LEASE_COUNT },
  (_, lease) => Array.from({ length: PARTITIONS_EACH }, (_each, index) => lease * PARTITIONS_EACH + index),
);

export function leaseOf(partition: number): number {
  return Math.floor(partition / PARTITIONS_EACH);
}

export interface OutboxEntry {
  /** Names it within its partition; means nothing else. */
  readonly id: string;
  readonly topic: string;
  readonly key: string;
  readonly eventId: string;
  /** The channel's key, `app/kind:id`. */
  readonly channel: string;
  readonly epoch: string;
  readonly offset: number;
  /** When it was stored, by the store's clock. */
  readonly timeMs: number;
  /** An encoded `realtime.client.v1.Event` without position. */
  readonly payload: Uint8Array;
}

/** What waits in a partition. */
export interface OutboxBacklog {
  readonly count: number;
  /** 0 where nothing waits. */
  readonly oldestAgeMs: number;
}

export interface ReadLimits {
  readonly maxEntries: number;
  /** Of payloads; the oldest entry is read however large it is. */
  readonly maxBytes: number;
}

export interface OutboxPage {
  readonly entries: readonly OutboxEntry[];
  /** Whether there may be more behind them. */
  readonly hasMore: boolean;
}

export interface Outbox {
  /** Takes a lease that nobody has, or that the holder has already, for so long. Answers whether it has it. */
  take(lease: number, holder: string, lifetimeMs: number): Promise<boolean>;
  /** Makes it last so long from now on, where the holder still has it. Answers whether it has. */
  renew(lease: number, holder: string, lifetimeMs: number): Promise<boolean>;
  /** Gives it up, where the holder has it. */
  release(lease: number, holder: string): Promise<void>;
  /** The oldest entries of a partition, in the order in which they were published. */
  read(partition: number, limits: ReadLimits): Promise<OutboxPage>;
  /** Removes exactly these; those that are gone already are no fault. */
  remove(partition: number, entries: readonly OutboxEntry[]): Promise<void>;
  /** What waits in each of the partitions, in their order. */
  backlog(partitions: readonly number[]): Promise<readonly OutboxBacklog[]>;
  /**
   * Hears when something was published to the partition, or may have been. Best effort: news can be lost.
   * One listener for each partition and outbox.
   */
  listen(partition: number, onNews: () => void): Promise<void>;
  unlisten(partition: number): void;
}
