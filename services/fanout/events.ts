/**
 * Chooses where events of other services come from and go to: Kafka, or a bus within the process where
 * none is configured.
 */
import type { Dependency } from "#proto/gen/realtime/link/v1/link.js";
import { MemoryEventBus } from "#fanout/event/event-bus-memory.js";
import type { EventSink } from "#fanout/event/event-sink.js";
import { KafkaEventSink } from "#fanout/event/event-sink-kafka.js";
import { OutboxTopics } from "#fanout/channel/outbox-topics.js";
import { deadLetterTopic } from "#fanout/event/dead-letter.js";
import type { EventSource } from "#fanout/event/event-source.js";
import { KafkaEventSource } from "#fanout/event/event-source-kafka.js";
import { makeMissingTopics } from "#fanout/event/kafka-topics.js";
import type { Logger } from "#fanout/fanout-logger.js";
import type { RevocationLog } from "#fanout/revocation/revocation-log.js";
import { KafkaRevocationLog } from "#fanout/revocation/revocation-log-kafka.js";
import type { LogicConfig } from "#services/config/config.js";

export interface OpenEvents {
  readonly sink: EventSink;
  /** Absent where this process does not consume. */
  readonly source: EventSource | undefined;
  /** Absent where there is no Kafka. */
  readonly revocationLog: RevocationLog | undefined;
  /** @throws Error naming KAFKA_BROKERS where a configured Kafka cannot be reached. */
  start(): Promise<void>;
  dependency(): Dependency;
  /** Records that are not consumed yet, by topic. */
  lag(): Readonly<Record<string, number>>;
  deadLetters(): number;
  sinkCounters(): { readonly sent: number; readonly failed: number; readonly buffered: number };
}

/** Of topics that are made. */
const NEW_TOPIC_PARTITIONS = 8;
const NOTHING_SENT = { sent: 0, failed: 0, buffered: 0 };

export function openEvents(config: LogicConfig, logger: Logger): OpenEvents {
  const { kafka } = config;
  if (kafka === undefined) {
    const bus = new MemoryEventBus({ topics: [] });
    return {
      sink: bus,
      source: undefined,
      revocationLog: undefined,
      start: () => Promise.resolve(),
      dependency: () => ({ name: "kafka", up: true, reconnectAttempts: 0, implementation: "memory" }),
      lag: () => ({}),
      deadLetters: () => 0,
      sinkCounters: () => NOTHING_SENT,
    };
  }
  const sink = new KafkaEventSink({ connection: kafka.connection, logger });
  const source = config.roles.has("consume")
    ? new KafkaEventSource({
        connection: kafka.connection,
        logger,
        groupId: kafka.groupId,
        topics: [kafka.topics.orders, kafka.topics.porters, kafka.topics.notifications],
      })
    : undefined;
  const revocationLog = new KafkaRevocationLog({
    connection: kafka.connection,
    sink,
    topic: kafka.topics.revocations,
    groupId: kafka.groupId,
    reads: config.roles.has("consume"),
    maxTokenLifetimeMs: config.tokens.maxTokenLifetimeMs,
    logger,
  });
  return {
    sink,
    source,
    revocationLog,
    start: async () => {
      await sink.start();
      if (!config.roles.has("relay")) return;
      const written = new OutboxTopics(config.outbox).topics.flatMap((topic) => [
        { topic, partitions: NEW_TOPIC_PARTITIONS },
        { topic: deadLetterTopic(topic), partitions: 1 },
      ]);
      await makeMissingTopics(kafka.connection, written, logger);
    },
    dependency: () => {
      const status = source?.status() ?? { isConnected: true, reconnectAttempts: 0 };
      return {
        name: "kafka",
        up: status.isConnected,
        reconnectAttempts: status.reconnectAttempts,
        implementation: "kafka",
      };
    },
    lag: () => source?.lag() ?? {},
    deadLetters: () => source?.deadLetters ?? 0,
    sinkCounters: () => sink.counters,
  };
}
