/**
 * The event sink on Kafka. Records of one turn of the event loop are one batch, and while a batch is under
 * way the next one gathers; so there is one request at a time, and order is kept. The buffer is bounded.
 *
 * After a failure the outcome of the batch is unknown. Its producer is thrown away: the broker would
 * take another batch under the same sequence numbers for a repeat, and drop it. All that waits fails
 * too, so that no later record of a key overtakes an earlier one that is sent again.
 */
import { Partitioners, type Kafka, type Message, type Producer } from "kafkajs";
import { GatewayError } from "#proto/errors.js";
import { Backoff } from "./backoff.js";
import type { Logger } from "#fanout/fanout-logger.js";
import type { EventSink, SinkRecord } from "./event-sink.js";
import { cannotConnect, createKafka, describe, type KafkaConnectionOptions } from "./kafka-connection.js";

export interface KafkaEventSinkOptions {
  readonly connection: KafkaConnectionOptions;
  readonly logger: Logger;
  readonly maxBufferedRecords?: number;
  readonly maxBufferedBytes?: number;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
}

/** Kafka refuses batches above 1 MB; a record must fit one with room for its neighbours' headers. */
const MAX_BATCH_BYTES = 512 * 1024;
const MAX_BATCH_RECORDS = 1_000;
/** Short, so that a caller hears within 15 s of a frozen broker, and sooner of a dead one; the outbox tries again. */
const REQUEST_TIMEOUT_MS = 4_500;
const REQUEST_RETRY = { initialRetryTime: 100, maxRetryTime: 500, retries: 2 } as const;

interface Buffered {
  readonly records: readonly SinkRecord[];
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: GatewayError) => void;
}

export class KafkaEventSink implements EventSink {
  readonly #options: KafkaEventSinkOptions;
  readonly #kafka: Kafka;
  readonly #now: () => number;
  readonly #backoff = new Backoff({ initialMs: 200, maxMs: 5_000 });
  #waiting: Buffered[] = [];
  #bufferedBytes = 0;
  #producer: Producer | undefined;
  #flushing: Promise<void> | undefined;
  #retryAtMs = 0;
  #closed = false;
  /** Plain integers for the metrics: records. */
  readonly counters = { sent: 0, failed: 0, buffered: 0 };

  constructor(options: KafkaEventSinkOptions) {
    this.#options = options;
    this.#kafka = createKafka(options.connection, options.logger, REQUEST_TIMEOUT_MS);
    this.#now = options.now ?? (() => performance.now());
  }

  /** @throws GatewayError unavailable, naming KAFKA_BROKERS, where no broker can be reached. */
  async start(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      this.#closed = true;
      throw cannotConnect(this.#options.connection, error);
    }
  }

  /** Whether the last that it tried worked. */
  isConnected(): boolean {
    return this.#producer !== undefined;
  }

  async send(records: readonly SinkRecord[]): Promise<void> {
    if (records.length === 0) return;
    const bytes = records.reduce((sum, record) => sum + recordBytes(record), 0);
    this.#admit(records, bytes);
    this.counters.buffered += records.length;
    this.#bufferedBytes += bytes;
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ records, bytes, resolve, reject });
      this.#flushing ??= this.#flush().finally(() => (this.#flushing = undefined));
    });
  }

  /** Sends what is buffered, then disconnects. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#flushing;
    await this.#discardProducer();
  }

  #admit(records: readonly SinkRecord[], bytes: number): void {
    const refuse = (error: GatewayError): never => {
      this.counters.failed += records.length;
      throw error;
    };
    if (this.#closed) refuse(new GatewayError("unavailable", "the event bus is closed"));
    if (records.length > MAX_BATCH_RECORDS || bytes > MAX_BATCH_BYTES) {
      refuse(new GatewayError("payload_too_large", "too much for one batch to the event bus"));
    }
    const isFull =
      this.counters.buffered + records.length > (this.#options.maxBufferedRecords ?? 10_000) ||
      this.#bufferedBytes + bytes > (this.#options.maxBufferedBytes ?? 16 * 1024 * 1024);
    if (isFull) {
      refuse(
        new GatewayError("unavailable", "too much waits for the event bus already", { retryAfterMs: 1_000 }),
      );
    }
    const retryAfterMs = Math.ceil(this.#retryAtMs - this.#now());
    if (this.#producer === undefined && retryAfterMs > 0) refuse(away(undefined, retryAfterMs));
  }

  async #flush(): Promise<void> {
    // One turn of the event loop is one batch.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch();
      try {
        const producer = this.#producer ?? (await this.#connect());
        await producer.sendBatch({ acks: -1, topicMessages: groupByTopic(batch) });
        this.#backoff.reset();
        this.#settle(batch, "sent");
      } catch (error) {
        await this.#fail([...batch, ...this.#waiting.splice(0)], error);
      }
    }
  }

  #takeBatch(): readonly Buffered[] {
    let records = 0;
    let bytes = 0;
    let count = 0;
    for (const entry of this.#waiting) {
      records += entry.records.length;
      bytes += entry.bytes;
      if (count > 0 && (records > MAX_BATCH_RECORDS || bytes > MAX_BATCH_BYTES)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #fail(entries: readonly Buffered[], error: unknown): Promise<void> {
    const retryAfterMs = this.#backoff.nextMs();
    this.#retryAtMs = this.#now() + retryAfterMs;
    this.#options.logger.warn(
      { reason: describe(error), retryInMs: retryAfterMs },
      "kafka: events could not be sent",
    );
    this.#settle(entries, "failed");
    for (const entry of entries) entry.reject(away(error, retryAfterMs));
    await this.#discardProducer();
  }

  #settle(entries: readonly Buffered[], outcome: "sent" | "failed"): void {
    for (const { records, bytes, resolve } of entries) {
      this.counters.buffered -= records.length;
      this.#bufferedBytes -= bytes;
      this.counters[outcome] += records.length;
      if (outcome === "sent") resolve();
    }
  }

  async #connect(): Promise<Producer> {
    const producer = this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
      retry: REQUEST_RETRY,
    });
    try {
      await producer.connect();
    } catch (error) {
      // It may have got as far as a socket, and failed at its producer id.
      await producer.disconnect().catch(() => undefined);
      throw error;
    }
    this.#producer = producer;
    return producer;
  }

  async #discardProducer(): Promise<void> {
    const producer = this.#producer;
    this.#producer = undefined;
    try {
      await producer?.disconnect();
    } catch (error) {
      this.#options.logger.warn({ reason: describe(error) }, "kafka: closing a producer failed");
    }
  }
}

function away(cause: unknown, retryAfterMs: number): GatewayError {
  return new GatewayError("unavailable", "the event bus is away", { retryAfterMs, cause });
}

function recordBytes({ key, value, headers }: SinkRecord): number {
  let bytes = key.length + value.byteLength + 64;
  for (const [name, text] of Object.entries(headers)) bytes += name.length + text.length;
  return bytes;
}

function groupByTopic(batch: readonly Buffered[]): { topic: string; messages: Message[] }[] {
  const byTopic = new Map<string, Message[]>();
  for (const { records } of batch) {
    for (const { topic, key, value, headers } of records) {
      const messages = byTopic.get(topic) ?? [];
      byTopic.set(topic, messages);
      messages.push({
        key,
        value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
        headers: { ...headers },
      });
    }
  }
  return [...byTopic].map(([topic, messages]) => ({ topic, messages }));
}
