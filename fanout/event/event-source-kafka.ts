/**
 * The event source on Kafka: keeps a consumer of the group alive for as long as it is started. A consumer
 * that crashes, hangs or loses its brokers turns the status red and is replaced, with backoff that is
 * forgotten only after proven uptime. Topics that are missing are made, or waited for while the others
 * are served.
 *
 * What one consumer does between joining and leaving is `kafka-consumer-run.ts`.
 */
import type { Admin, IHeaders, Kafka, KafkaMessage } from "kafkajs";
import { Backoff, type BackoffOptions } from "./backoff.js";
import { deadLetterTopic } from "./dead-letter.js";
import { KafkaDeadLetters } from "./dead-letter-kafka.js";
import type { Logger } from "#fanout/fanout-logger.js";
import {
  UnreadableRecord,
  type EventSource,
  type EventSourceStatus,
  type RecordHandler,
  type RecordWork,
  type SourceRecord,
} from "./event-source.js";
import { cannotConnect, createKafka, describe, type KafkaConnectionOptions } from "./kafka-connection.js";
import { ConsumerRun, type KafkaItem } from "./kafka-consumer-run.js";
import { ensureTopics } from "./kafka-topics.js";

export interface KafkaEventSourceOptions {
  readonly connection: KafkaConnectionOptions;
  readonly logger: Logger;
  readonly topics?: readonly string[];
  readonly groupId?: string;
  /** Of topics that it makes; -1 is the cluster's default. */
  readonly newTopicPartitions?: number;
  /** Between tries of a record that failed in a way that can pass. */
  readonly retryBackoff?: BackoffOptions;
  /** Between consumers. */
  readonly restartBackoff?: BackoffOptions;
  /** How long `stop` waits for the records in hand. */
  readonly stopTimeoutMs?: number;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
}

export const EVENT_TOPICS = ["order-events", "porter-events", "notification-events"] as const;
export const CONSUMER_GROUP = "realtime-gateway-group";

const PROVEN_UPTIME_MS = 60_000;
const WATCH_INTERVAL_MS = 5_000;
/** A consumer that hangs without a crash is given up after this. */
const HANG_MS = 60_000;
const START_TIMEOUT_MS = 60_000;
const MISSING_TOPIC_CHECK_MS = 5_000;

export class KafkaEventSource implements EventSource {
  readonly #options: KafkaEventSourceOptions;
  readonly #topics: readonly string[];
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #kafka: Kafka;
  readonly #admin: Admin;
  readonly #deadLetters: KafkaDeadLetters;
  readonly #restartBackoff: Backoff;
  readonly #inHand = new Map<string, Promise<void>>();
  #handler: RecordHandler | undefined;
  #run: ConsumerRun | undefined;
  #runningSinceMs = 0;
  #lastAliveAtMs = 0;
  #reconnectAttempts = 0;
  #restartTimer: NodeJS.Timeout | undefined;
  #watchTimer: NodeJS.Timeout | undefined;
  #missingTopics: readonly string[] = [];
  #toldMissing = "";
  #connecting: Promise<void> | undefined;
  #stopped = false;
  /** Records in dead letter topics, put there by this process. */
  deadLetters = 0;

  constructor(options: KafkaEventSourceOptions) {
    this.#options = options;
    this.#topics = options.topics ?? EVENT_TOPICS;
    this.#logger = options.logger;
    this.#now = options.now ?? (() => performance.now());
    this.#kafka = createKafka(options.connection, options.logger);
    this.#admin = this.#kafka.admin();
    this.#deadLetters = new KafkaDeadLetters(this.#kafka);
    this.#restartBackoff = new Backoff(options.restartBackoff ?? { initialMs: 500, maxMs: 15_000 });
  }

  /** @throws GatewayError unavailable, naming KAFKA_BROKERS, where no broker can be reached. */
  async start(handler: RecordHandler): Promise<void> {
    this.#handler = handler;
    try {
      await this.#admin.connect();
    } catch (error) {
      this.#stopped = true;
      await this.#admin.disconnect().catch(() => undefined);
      throw cannotConnect(this.#options.connection, error);
    }
    this.#watchTimer = setInterval(() => this.#watch(), WATCH_INTERVAL_MS);
    await this.#firstConsumer();
  }

  status(): EventSourceStatus {
    return { isConnected: this.#run?.isAlive() === true, reconnectAttempts: this.#reconnectAttempts };
  }

  /** Records that are stored but not committed, by topic, as far as fetches have told. */
  lag(): Readonly<Record<string, number>> {
    return this.#run?.lag() ?? {};
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#restartTimer);
    clearInterval(this.#watchTimer);
    await this.#connecting?.catch(() => undefined);
    const run = this.#run;
    this.#run = undefined;
    const failures = await Promise.allSettled([run?.stop(this.#options.stopTimeoutMs ?? 5_000)]);
    failures.push(...(await Promise.allSettled([this.#deadLetters.close(), this.#admin.disconnect()])));
    for (const failure of failures) {
      if (failure.status === "rejected")
        this.#logger.warn({ reason: describe(failure.reason) }, "kafka: leaving failed");
    }
  }

  /** The first join may meet a broker that is just starting: it is tried again, but not forever. */
  async #firstConsumer(): Promise<void> {
    const deadlineMs = this.#now() + START_TIMEOUT_MS;
    for (;;) {
      try {
        await this.#connect();
        return;
      } catch (error) {
        if (this.#stopped || this.#now() > deadlineMs) {
          await this.stop();
          throw cannotConnect(this.#options.connection, error);
        }
        this.#logger.warn({ reason: describe(error) }, "kafka: joining the group failed; trying again");
        await new Promise((resolve) => setTimeout(resolve, this.#restartBackoff.nextMs()));
      }
    }
  }

  #connect(): Promise<void> {
    this.#connecting ??= this.#replaceConsumer().finally(() => (this.#connecting = undefined));
    return this.#connecting;
  }

  async #replaceConsumer(): Promise<void> {
    this.#reconnectAttempts += 1;
    const missing = await this.#ensureTopics();
    const present = this.#topics.filter((topic) => !missing.includes(topic));
    this.#missingTopics = missing;
    if (missing.length > 0) this.#restartIn(MISSING_TOPIC_CHECK_MS);
    if (present.length === 0) return;

    const run: ConsumerRun = new ConsumerRun({
      kafka: this.#kafka,
      groupId: this.#options.groupId ?? CONSUMER_GROUP,
      topics: present,
      prepare: (item) => this.#prepare(item),
      retryBackoff: this.#options.retryBackoff ?? { initialMs: 100, maxMs: 10_000 },
      logger: this.#logger,
      now: this.#now,
      inHand: this.#inHand,
      onCrash: (error) => {
        if (this.#run === run) this.#lost(error);
      },
    });
    try {
      await run.start();
    } catch (error) {
      void this.#abandon(run);
      throw error;
    }
    this.#run = run;
    this.#runningSinceMs = this.#now();
    this.#lastAliveAtMs = this.#runningSinceMs;
    this.#reconnectAttempts = 0;
    this.#logger.info({ topics: present }, "kafka: consuming");
    if (run.hasEnded) this.#lost(new Error("the consumer crashed while it joined"));
  }

  /** @returns those of its topics that do not exist. Says so once, not at every look. */
  async #ensureTopics(): Promise<readonly string[]> {
    const partitions = this.#options.newTopicPartitions ?? 8;
    const wanted = this.#topics.map((topic) => ({ topic, partitions }));
    const deadLetters = this.#topics.map((topic) => ({ topic: deadLetterTopic(topic), partitions: 1 }));
    const missing = await ensureTopics(this.#admin, [...wanted, ...deadLetters], this.#logger);
    const told = missing.map(({ topic }) => topic).join(", ");
    if (told !== this.#toldMissing && missing.length > 0) {
      this.#logger.error({ missing }, "kafka: waiting for topics that somebody has to make");
    }
    this.#toldMissing = told;
    // Without its dead letter topic an unreadable record holds its partition; the others are still served.
    return missing.map(({ topic }) => topic).filter((topic) => this.#topics.includes(topic));
  }

  #lost(error: Error): void {
    const run = this.#run;
    this.#run = undefined;
    if (run) void this.#abandon(run);
    if (this.#stopped) return;
    if (this.#now() - this.#runningSinceMs >= PROVEN_UPTIME_MS) this.#restartBackoff.reset();
    const retryInMs = this.#restartBackoff.nextMs();
    this.#logger.error({ reason: describe(error), retryInMs }, "kafka: lost the consumer; starting another");
    this.#restartIn(retryInMs);
  }

  #restartIn(delayMs: number): void {
    clearTimeout(this.#restartTimer);
    if (this.#stopped) return;
    this.#restartTimer = setTimeout(() => void this.#restart(), delayMs);
  }

  async #restart(): Promise<void> {
    try {
      const previous = this.#run;
      if (previous) {
        // Only topics were missing. Nothing is torn down until there is something new to read.
        const missing = await this.#ensureTopics();
        if (missing.length === this.#missingTopics.length) {
          this.#restartIn(MISSING_TOPIC_CHECK_MS);
          return;
        }
        this.#run = undefined;
        await previous.stop(this.#options.stopTimeoutMs ?? 5_000);
      }
      if (!this.#isStopped()) await this.#connect();
    } catch (error) {
      const retryInMs = this.#restartBackoff.nextMs();
      this.#logger.error({ reason: describe(error), retryInMs }, "kafka: still away; trying again");
      this.#restartIn(retryInMs);
    }
  }

  #watch(): void {
    const run = this.#run;
    if (run === undefined) return;
    const nowMs = this.#now();
    if (run.isAlive()) {
      this.#lastAliveAtMs = nowMs;
      if (nowMs - this.#runningSinceMs >= PROVEN_UPTIME_MS) this.#restartBackoff.reset();
    } else if (nowMs - this.#lastAliveAtMs >= HANG_MS) {
      this.#lost(new Error("the consumer hangs"));
    }
  }

  async #abandon(run: ConsumerRun): Promise<void> {
    try {
      await run.abandon();
    } catch (error) {
      this.#logger.warn({ reason: describe(error) }, "kafka: closing a lost consumer failed");
    }
  }

  // Asked again after an await, where the compiler believes that nothing changed.
  #isStopped(): boolean {
    return this.#stopped;
  }

  #prepare(item: KafkaItem): RecordWork {
    const work = this.#handler?.(toRecord(item));
    if (work === undefined) throw new Error("a record came before the handler");
    return { touches: work.touches, run: () => this.#perform(item, work) };
  }

  async #perform(item: KafkaItem, work: RecordWork): Promise<void> {
    try {
      await work.run();
    } catch (error) {
      if (!(error instanceof UnreadableRecord)) throw error;
      const { topic, partition, offset, message } = item;
      await this.#deadLetters.send({ topic, partition, offset, message, reason: error.message });
      this.deadLetters += 1;
      this.#logger.warn({ topic, partition, offset, reason: error.message }, "an event could not be read");
    }
  }
}

function toRecord({ topic, partition, offset, message }: KafkaItem): SourceRecord {
  return {
    topic,
    partition,
    offset,
    key: message.key?.toString("utf8"),
    value: message.value ?? new Uint8Array(),
    headers: readHeaders(message),
  };
}

function readHeaders(message: KafkaMessage): Readonly<Record<string, string>> {
  const headers: IHeaders = message.headers ?? {};
  const entries = Object.entries(headers).flatMap(([name, value]): [string, string][] => {
    const last = Array.isArray(value) ? value.at(-1) : value;
    return last === undefined ? [] : [[name.toLowerCase(), last.toString()]];
  });
  return Object.fromEntries(entries);
}
