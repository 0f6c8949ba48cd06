/**
 * The event bus within one process: what the embedded default uses instead of Kafka, and tests too.
 * What the sink sends to a topic that a source reads is handed to its handler, with the same promises as
 * Kafka's; what is sent to other topics is only heard by listeners. Nothing outlives the process.
 *
 * Bounded: where too much waits for the handler, sending fails with `unavailable`.
 */
import { GatewayError } from "#proto/errors.js";
import { eventTag } from "#proto/event-tag.js";
import type { BackoffOptions } from "./backoff.js";
import { deadLetterHeaders, deadLetterTopic } from "./dead-letter.js";
import type { EventSink, SinkRecord } from "./event-sink.js";
import {
  UnreadableRecord,
  type EventSource,
  type EventSourceStatus,
  type RecordHandler,
  type RecordWork,
  type SourceRecord,
} from "./event-source.js";
import { PartitionLane, type LaneItem } from "./partition-lane.js";

export interface MemoryEventBusOptions {
  /** The topics that sources read; their records wait for a source. */
  readonly topics: readonly string[];
  readonly partitions?: number;
  /** How many records of a partition may wait. */
  readonly maxQueuedRecords?: number;
  /** Between tries of a record that failed in a way that can pass. */
  readonly retryBackoff?: BackoffOptions;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly now?: () => number;
}

interface MemoryItem extends LaneItem {
  readonly record: SourceRecord;
}

interface MemoryPartition {
  /** Not committed, in order. */
  readonly waiting: MemoryItem[];
  nextOffset: number;
  lane: PartitionLane<MemoryItem> | undefined;
  /** Settled when no earlier source has a record of it in hand. */
  inHand: Promise<void>;
}

export class MemoryEventBus implements EventSink {
  readonly #options: MemoryEventBusOptions;
  readonly #partitions = new Map<string, readonly MemoryPartition[]>();
  readonly #listeners = new Set<(record: SinkRecord) => void>();
  #closed = false;

  constructor(options: MemoryEventBusOptions) {
    this.#options = options;
    // Stores may outlive the process and know its offsets as marks: those of the next one must be greater.
    const firstOffset = (options.now ?? Date.now)() * 1_000;
    for (const topic of options.topics) {
      const partitions = Array.from({ length: options.partitions ?? 8 }, (): MemoryPartition => ({
        waiting: [],
        nextOffset: firstOffset,
        lane: undefined,
        inHand: Promise.resolve(),
      }));
      this.#partitions.set(topic, partitions);
    }
  }

  async send(records: readonly SinkRecord[]): Promise<void> {
    if (this.#closed) throw new GatewayError("unavailable", "the event bus is closed");
    const maxQueuedRecords = this.#options.maxQueuedRecords ?? 1_000;
    for (const { topic, key } of records) {
      const partition = this.#partitionOf(topic, key);
      if (partition && partition.target.waiting.length + records.length > maxQueuedRecords) {
        throw new GatewayError("unavailable", "too much waits for the event bus already", {
          retryAfterMs: 1_000,
        });
      }
    }
    for (const record of records) this.#append(record);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.resolve();
  }

  /** Hears everything that is sent from now on, to any topic. Returns how to stop. */
  subscribe(listener: (record: SinkRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads the bus's topics. There is one group: only one source may be started at a time. */
  source(): EventSource {
    let isStarted = false;
    return {
      start: async (handler) => {
        isStarted = true;
        for (const partition of this.#allPartitions()) this.#open(partition, handler);
        await Promise.resolve();
      },
      status: (): EventSourceStatus => ({ isConnected: isStarted, reconnectAttempts: 0 }),
      stop: async () => {
        if (!isStarted) return;
        isStarted = false;
        await Promise.all([...this.#allPartitions()].map((partition) => this.#shut(partition)));
      },
    };
  }

  #append(sent: SinkRecord): void {
    for (const listener of this.#listeners) listener(sent);
    const partition = this.#partitionOf(sent.topic, sent.key);
    if (partition === undefined) return;
    const { target, number } = partition;
    const offset = target.nextOffset;
    target.nextOffset += 1;
    const headers = Object.fromEntries(
      Object.entries(sent.headers).map(([name, value]) => [name.toLowerCase(), value]),
    );
    const { topic, key, value } = sent;
    const item: MemoryItem = {
      offset,
      nextOffset: offset + 1,
      byteLength: value.byteLength,
      record: { topic, partition: number, offset, key, value, headers },
    };
    target.waiting.push(item);
    target.lane?.accept([item]);
  }

  #open(partition: MemoryPartition, handler: RecordHandler): void {
    if (partition.lane) throw new Error("a source of this bus is started already");
    const lane = new PartitionLane<MemoryItem>({
      prepare: ({ record }) => this.#prepare(record, handler),
      backoff: this.#options.retryBackoff ?? { initialMs: 100, maxMs: 10_000 },
      onDone: () => void partition.waiting.shift(),
      after: partition.inHand,
    });
    partition.lane = lane;
    lane.accept(partition.waiting);
  }

  async #shut(partition: MemoryPartition): Promise<void> {
    const { lane } = partition;
    partition.lane = undefined;
    if (lane) partition.inHand = lane.close();
    await partition.inHand;
  }

  #prepare(record: SourceRecord, handler: RecordHandler): RecordWork {
    const { touches, run } = handler(record);
    return { touches, run: () => this.#perform(record, run) };
  }

  async #perform(record: SourceRecord, run: RecordWork["run"]): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof UnreadableRecord)) throw error;
      this.#append({
        topic: deadLetterTopic(record.topic),
        key: record.key ?? "",
        value: record.value,
        headers: { ...record.headers, ...deadLetterHeaders(record, error.message) },
      });
    }
  }

  #partitionOf(topic: string, key: string): { target: MemoryPartition; number: number } | undefined {
    const partitions = this.#partitions.get(topic);
    const number = partitions ? eventTag(key) % partitions.length : 0;
    const target = partitions?.[number];
    return target && { target, number };
  }

  *#allPartitions(): Generator<MemoryPartition> {
    for (const partitions of this.#partitions.values()) yield* partitions;
  }
}
