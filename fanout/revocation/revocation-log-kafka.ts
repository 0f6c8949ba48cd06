/**
 * The revocation log on a compacted Kafka topic. Every process that reads it reads all of it, with a group of its
 * own that commits nothing, and goes on with what comes; a consumer that crashed is replaced, with backoff, and
 * reads from the beginning again. What is told twice changes nothing.
 */
import { randomUUID } from "node:crypto";
import type { Consumer, EachBatchPayload, Kafka } from "kafkajs";
import { Backoff } from "#fanout/event/backoff.js";
import type { EventSink } from "#fanout/event/event-sink.js";
import { UnreadableRecord } from "#fanout/event/event-source.js";
import {
  createKafka,
  describe,
  KAFKA_RETRY,
  type KafkaConnectionOptions,
} from "#fanout/event/kafka-connection.js";
import { ensureTopics } from "#fanout/event/kafka-topics.js";
import type { Logger } from "../fanout-logger.js";
import type { Revocation } from "./revocation.js";
import type { RevocationLog } from "./revocation-log.js";
import { readRevocationRecord, revocationRecord } from "./revocation-record.js";

export interface KafkaRevocationLogOptions {
  readonly connection: KafkaConnectionOptions;
  readonly sink: Pick<EventSink, "send">;
  readonly topic: string;
  /** Groups are named after it. */
  readonly groupId: string;
  /** False: this process only appends. */
  readonly reads: boolean;
  /** Records outlive every revocation by this policy of the topic. */
  readonly maxTokenLifetimeMs: number;
  readonly logger: Logger;
}

type Handler = (revocations: readonly Revocation[]) => void;

/** Records of a topic that this makes are kept so much longer than any token lives. */
const RETENTION_MARGIN_MS = 24 * 3_600_000;
const SESSION_TIMEOUT_MS = 10_000;
/** How long an idle fetch waits at the broker, and with it whoever stops: a process that ends waits for it. */
const FETCH_WAIT_MS = 300;
const RESTART_BACKOFF = { initialMs: 500, maxMs: 15_000 };

export class KafkaRevocationLog implements RevocationLog {
  readonly #options: KafkaRevocationLogOptions;
  readonly #kafka: Kafka;
  readonly #backoff = new Backoff(RESTART_BACKOFF);
  /** By partition, the offset up to which records stood when reading began. */
  #toReach = new Map<number, number>();
  #hasBegun = false;
  #consumer: Consumer | undefined;
  #handler: Handler = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;
  /** Records that are no revocations. */
  unreadable = 0;

  constructor(options: KafkaRevocationLogOptions) {
    this.#options = options;
    this.#kafka = createKafka(options.connection, options.logger);
  }

  /** Does not wait for Kafka: reading begins when it is there. */
  async start(handler: Handler): Promise<void> {
    this.#handler = handler;
    if (this.#options.reads) await this.#begin();
  }

  isCaughtUp(): boolean {
    return this.#hasBegun && this.#toReach.size === 0;
  }

  async append(revocations: readonly Revocation[]): Promise<void> {
    const { sink, topic } = this.#options;
    const nowMs = Date.now();
    await sink.send(revocations.map((revocation) => revocationRecord(revocation, topic, nowMs)));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#discard();
  }

  /** Never rejects: what fails is tried again. */
  async #begin(): Promise<void> {
    try {
      await this.#lookUp();
      await this.#consume();
    } catch (error) {
      this.#beginAgain(error);
    }
    if (this.#isStopped) await this.#discard();
  }

  #beginAgain(error: unknown): void {
    this.#hasBegun = false;
    if (this.#isStopped) return;
    const retryInMs = this.#backoff.nextMs();
    this.#options.logger.warn({ reason: describe(error), retryInMs }, "kafka: revocations cannot be read");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#discard().then(() => this.#begin()), retryInMs).unref();
  }

  /** Makes the topic where it is missing, and looks how far there is to read. */
  async #lookUp(): Promise<void> {
    const { topic, maxTokenLifetimeMs, logger } = this.#options;
    const admin = this.#kafka.admin();
    try {
      await admin.connect();
      const config = {
        "cleanup.policy": "compact,delete",
        "retention.ms": String(maxTokenLifetimeMs + RETENTION_MARGIN_MS),
      };
      const [missing] = await ensureTopics(admin, [{ topic, partitions: 1, config }], logger);
      if (missing !== undefined) throw new Error(`the topic ${topic} has to be made: ${missing.reason}`);
      const offsets = await admin.fetchTopicOffsets(topic);
      const unread = offsets.filter(({ high, low }) => Number(high) > Number(low));
      this.#toReach = new Map(unread.map(({ partition, high }) => [partition, Number(high)]));
    } finally {
      await admin.disconnect().catch(() => undefined);
    }
  }

  async #consume(): Promise<void> {
    const consumer = this.#kafka.consumer({
      groupId: `${this.#options.groupId}-revocations-${randomUUID()}`,
      sessionTimeout: SESSION_TIMEOUT_MS,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      allowAutoTopicCreation: false,
      retry: { ...KAFKA_RETRY, restartOnFailure: () => Promise.resolve(false) },
    });
    this.#consumer = consumer;
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      if (this.#consumer === consumer) this.#beginAgain(payload.error);
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [this.#options.topic], fromBeginning: true });
    await consumer.run({ autoCommit: false, eachBatch: (payload) => this.#read(payload) });
    this.#hasBegun = true;
  }

  async #read({ batch, resolveOffset, heartbeat, isStale }: EachBatchPayload): Promise<void> {
    if (isStale()) return;
    const revocations: Revocation[] = [];
    for (const message of batch.messages) {
      const offset = Number(message.offset);
      try {
        const value = message.value ?? new Uint8Array();
        const place = { topic: batch.topic, partition: batch.partition, offset };
        // What is emptied for its key is gone.
        if (value.length > 0) {
          const headers = Object.fromEntries(
            Object.entries(message.headers ?? {}).map(([name, text]) => [
              name.toLowerCase(),
              String(Array.isArray(text) ? text.at(-1) : text),
            ]),
          );
          const record = { ...place, key: message.key?.toString("utf8"), value, headers };
          const read = readRevocationRecord(record, this.#options.maxTokenLifetimeMs);
          if (read !== undefined) revocations.push(read);
        }
      } catch (error) {
        if (!(error instanceof UnreadableRecord)) throw error;
        this.unreadable += 1;
        const { topic, partition } = batch;
        const fields = { topic, partition, offset, reason: error.message };
        this.#options.logger.warn(fields, "a revocation could not be read");
      }
      resolveOffset(message.offset);
    }
    if (revocations.length > 0) this.#handler(revocations);
    this.#backoff.reset();
    // Compaction leaves gaps: what counts is how far the batch reaches.
    const toReach = this.#toReach.get(batch.partition);
    if (toReach !== undefined && Number(batch.lastOffset()) + 1 >= toReach)
      this.#toReach.delete(batch.partition);
    await heartbeat();
  }

  async #discard(): Promise<void> {
    const consumer = this.#consumer;
    this.#consumer = undefined;
    await consumer?.disconnect().catch(() => undefined);
  }
}
