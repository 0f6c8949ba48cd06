/**
 * One life of a consumer in the group, from joining to leaving or crashing. kafkajs waits for every batch
 * of a fetch before it fetches again, so batches are only handed to the lane of their partition, which
 * is paused while it has enough: a slow partition holds up no other, and heartbeats never wait for a handler.
 *
 * Offsets are committed behind the lanes: batched, never ahead of what is done, and before leaving. After
 * a rebalance lanes of partitions that went to others are closed; those that stayed go on.
 */
import type { Consumer, ConsumerCrashEvent, EachBatchPayload, Kafka, KafkaMessage } from "kafkajs";
import type { BackoffOptions } from "./backoff.js";
import type { RecordWork } from "./event-source.js";
import { describe, KAFKA_RETRY } from "./kafka-connection.js";
import type { Logger } from "#fanout/fanout-logger.js";
import { PartitionLane, type LaneItem } from "./partition-lane.js";

export interface KafkaItem extends LaneItem {
  readonly topic: string;
  readonly partition: number;
  readonly message: KafkaMessage;
}

export interface ConsumerRunOptions {
  readonly kafka: Kafka;
  readonly groupId: string;
  readonly topics: readonly string[];
  readonly prepare: (item: KafkaItem) => RecordWork;
  readonly retryBackoff: BackoffOptions;
  readonly logger: Logger;
  readonly now: () => number;
  /** What lanes of earlier lives still have in hand, by partition: a record never overtakes it. */
  readonly inHand: Map<string, Promise<void>>;
  /** Told once, when it ended by itself. */
  readonly onCrash: (error: Error) => void;
}

/** A lane that has so many waiting, or so much, is supplied with no more until half of it is done. */
const MAX_QUEUED_RECORDS = 500;
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;
const MAX_BYTES_PER_PARTITION = 512 * 1024;
const COMMIT_INTERVAL_MS = 200;
/** How long an idle fetch waits at the broker; a resumed partition waits for it. */
const FETCH_WAIT_MS = 300;
/** The least that brokers grant by default: partitions of a consumer that died stand still for so long. */
const SESSION_TIMEOUT_MS = 6_000;
const REBALANCE_TIMEOUT_MS = 20_000;
/** A consumer learns with its next heartbeat that another has joined or left, and all wait for the last one. */
const HEARTBEAT_INTERVAL_MS = 500;
/** A consumer without a fetch for so long hangs or has lost its brokers. */
const FETCH_STALL_MS = 12_000;

interface AssignedPartition {
  readonly topic: string;
  readonly partition: number;
  readonly lane: PartitionLane<KafkaItem>;
  /** Undoes a pause; undefined while it is supplied. */
  resume: (() => void) | undefined;
  highWatermark: number;
  /** Everything below it is committed, as far as this process knows. */
  committedOffset: number;
}

export class ConsumerRun {
  readonly #options: ConsumerRunOptions;
  readonly #consumer: Consumer;
  readonly #partitions = new Map<string, AssignedPartition>();
  #commitOffsets: EachBatchPayload["commitOffsetsIfNecessary"] | undefined;
  #commitTimer: NodeJS.Timeout | undefined;
  #committing: Promise<void> | undefined;
  #memberId: string | undefined;
  #lastFetchAtMs: number | undefined;
  #ended = false;

  constructor(options: ConsumerRunOptions) {
    this.#options = options;
    this.#consumer = options.kafka.consumer({
      groupId: options.groupId,
      sessionTimeout: SESSION_TIMEOUT_MS,
      rebalanceTimeout: REBALANCE_TIMEOUT_MS,
      heartbeatInterval: HEARTBEAT_INTERVAL_MS,
      maxBytesPerPartition: MAX_BYTES_PER_PARTITION,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      allowAutoTopicCreation: false,
      // Restarting is the source's: it knows the backoff, and turns the status red meanwhile.
      retry: { ...KAFKA_RETRY, restartOnFailure: () => Promise.resolve(false) },
    });
  }

  /** Resolves when it has joined the group; rejects where it crashed before that. */
  async start(): Promise<void> {
    const { events } = this.#consumer;
    const joined = new Promise<void>((resolve, reject) => {
      this.#consumer.on(events.GROUP_JOIN, ({ payload }) => {
        this.#reassign(payload.memberId, payload.memberAssignment);
        resolve();
      });
      this.#consumer.on(events.CRASH, ({ payload }: ConsumerCrashEvent) => {
        reject(payload.error);
        this.#crash(payload.error);
      });
    });
    // Where connect or subscribe fails first, nobody waits for it any more.
    joined.catch(() => undefined);
    this.#consumer.on(events.FETCH, () => void (this.#lastFetchAtMs = this.#options.now()));
    // What is done is committed before the partitions go to others; what comes too late they repeat.
    this.#consumer.on(events.REBALANCING, () => this.#commitNow());
    await this.#consumer.connect();
    await this.#consumer.subscribe({ topics: [...this.#options.topics], fromBeginning: true });
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      // Handing over takes no time; this only keeps one batch from waiting for another's heartbeat.
      partitionsConsumedConcurrently: 8,
      eachBatch: (payload) => this.#handOver(payload),
    });
    await joined;
  }

  /** Whether it has joined and its fetches come back. */
  isAlive(): boolean {
    if (this.#ended || this.#lastFetchAtMs === undefined) return false;
    return this.#options.now() - this.#lastFetchAtMs < FETCH_STALL_MS;
  }

  /** Records that are stored but not committed, by topic, as of the last fetch. */
  lag(): Readonly<Record<string, number>> {
    const lag: Record<string, number> = Object.fromEntries(this.#options.topics.map((topic) => [topic, 0]));
    for (const { topic, highWatermark, committedOffset } of this.#partitions.values()) {
      lag[topic] = (lag[topic] ?? 0) + Math.max(0, highWatermark - committedOffset);
    }
    return lag;
  }

  /** Whether it crashed, was stopped or was given up. */
  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Finishes what is in hand (for so long at most), commits and leaves the group. */
  async stop(inHandTimeoutMs: number): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#commitTimer);
    const closing = Promise.all([...this.#partitions.values()].map(({ lane }) => lane.close()));
    await Promise.race([closing, timer(inHandTimeoutMs)]);
    await this.#committing;
    await this.#commit();
    this.#release();
    await this.#consumer.disconnect();
  }

  /** Gives up a consumer that ended or hangs; what is in hand goes on and is waited for by the next life. */
  async abandon(): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#commitTimer);
    this.#release();
    await this.#consumer.disconnect();
  }

  async #handOver(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    if (this.#ended || !payload.isRunning() || payload.isStale()) return;
    this.#commitOffsets = (offsets) => payload.commitOffsetsIfNecessary(offsets);
    const lastOffset = batch.messages.at(-1)?.offset;
    const items = batch.messages.map((message): KafkaItem => {
      const offset = Number(message.offset);
      // Control records behind the last one are never handed out, but must be committed.
      const nextOffset = (message.offset === lastOffset ? Number(batch.lastOffset()) : offset) + 1;
      const byteLength = message.value?.byteLength ?? 0;
      return { topic: batch.topic, partition: batch.partition, offset, nextOffset, byteLength, message };
    });
    const first = items[0];
    if (first === undefined || lastOffset === undefined) return;

    const assigned = this.#assigned(first, Number(batch.highWatermark));
    assigned.lane.accept(items);
    payload.resolveOffset(lastOffset);
    if (isFull(assigned.lane, 1)) assigned.resume = payload.pause();
    await payload.heartbeat();
  }

  #assigned(first: KafkaItem, highWatermark: number): AssignedPartition {
    const { topic, partition } = first;
    const name = partitionName(topic, partition);
    let assigned = this.#partitions.get(name);
    if (assigned && highWatermark < assigned.lane.acceptedOffset) {
      // The log ends before what we had of it: the topic was made anew. Its offsets count from the start again.
      this.#options.logger.warn(
        { topic, partition },
        "kafka: a partition was reset; reading it from its start",
      );
      this.#close(name, assigned);
      assigned = undefined;
    }
    if (assigned === undefined) {
      assigned = this.#open(first);
      this.#partitions.set(name, assigned);
    }
    assigned.highWatermark = highWatermark;
    return assigned;
  }

  #open({ topic, partition, offset }: KafkaItem): AssignedPartition {
    const after = this.#options.inHand.get(partitionName(topic, partition));
    const assigned: AssignedPartition = {
      topic,
      partition,
      resume: undefined,
      highWatermark: 0,
      committedOffset: offset,
      lane: new PartitionLane<KafkaItem>({
        prepare: this.#options.prepare,
        backoff: this.#options.retryBackoff,
        ...(after && { after }),
        onDone: () => {
          this.#commitSoon();
          if (assigned.resume && !isFull(assigned.lane, 0.5)) {
            const { resume } = assigned;
            assigned.resume = undefined;
            if (!this.#ended) resume();
          }
        },
        onFailure: (item, { error, retryInMs }) =>
          this.#options.logger.warn(
            { topic, partition, offset: item.offset, reason: describe(error), retryInMs },
            "an event could not be handled now; its partition waits for it",
          ),
      }),
    };
    return assigned;
  }

  /** A member that was thrown out and came back may have missed a generation: then nothing of before counts. */
  #reassign(memberId: string, assignment: Readonly<Record<string, readonly number[]>>): void {
    const isSameMember = memberId === this.#memberId;
    this.#memberId = memberId;
    for (const [name, assigned] of this.#partitions) {
      const isStillOurs = isSameMember && assignment[assigned.topic]?.includes(assigned.partition) === true;
      if (!isStillOurs) this.#close(name, assigned);
    }
    this.#lastFetchAtMs = this.#options.now();
  }

  #close(name: string, { lane, resume }: AssignedPartition): void {
    this.#partitions.delete(name);
    if (!this.#ended) resume?.();
    const { inHand } = this.#options;
    const before = inHand.get(name);
    const settled = Promise.all([before, lane.close()]).then(() => {
      if (inHand.get(name) === settled) inHand.delete(name);
    });
    inHand.set(name, settled);
  }

  #release(): void {
    for (const [name, assigned] of this.#partitions) this.#close(name, assigned);
  }

  #crash(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#commitTimer);
    this.#release();
    this.#options.onCrash(error);
  }

  #commitSoon(): void {
    if (this.#ended) return;
    this.#commitTimer ??= setTimeout(() => this.#commitNow(), COMMIT_INTERVAL_MS);
  }

  #commitNow(): void {
    clearTimeout(this.#commitTimer);
    this.#commitTimer = undefined;
    this.#committing ??= this.#commit().finally(() => (this.#committing = undefined));
  }

  /** Never fails: what could not be committed is tried again with the next. */
  async #commit(): Promise<void> {
    const dirty = [...this.#partitions.values()].flatMap((assigned) => {
      const doneOffset = assigned.lane.doneOffset ?? assigned.committedOffset;
      return doneOffset > assigned.committedOffset ? [{ assigned, doneOffset }] : [];
    });
    if (dirty.length === 0 || this.#commitOffsets === undefined) return;
    const topics = new Map<string, { partition: number; offset: string }[]>();
    for (const { assigned, doneOffset } of dirty) {
      const partitions = topics.get(assigned.topic) ?? [];
      topics.set(assigned.topic, partitions);
      partitions.push({ partition: assigned.partition, offset: String(doneOffset) });
    }
    try {
      await this.#commitOffsets({
        topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })),
      });
      for (const { assigned, doneOffset } of dirty) assigned.committedOffset = doneOffset;
    } catch (error) {
      this.#options.logger.warn({ reason: describe(error) }, "kafka: offsets could not be committed now");
      this.#commitSoon();
    }
  }
}

/** Whether such a share of what may wait does. */
function isFull({ pending, pendingBytes }: PartitionLane<KafkaItem>, share: number): boolean {
  return pending > share * MAX_QUEUED_RECORDS || pendingBytes > share * MAX_QUEUED_BYTES;
}

function partitionName(topic: string, partition: number): string {
  return `${topic}-${partition}`;
}

async function timer(delayMs: number): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve, delayMs).unref());
}
