/**
 * How Kafka is reached, by the source and the sink alike: addresses, TLS, SASL, time-outs; kafkajs's own
 * log goes to ours, at debug: what it calls an error is one of many tries to us. What comes of them is
 * told by the source and the sink.
 */
import { Kafka, logLevel, type LogEntry, type SASLOptions } from "kafkajs";
import type { ConnectionOptions } from "node:tls";
import { GatewayError } from "#proto/errors.js";
import type { Logger } from "#fanout/fanout-logger.js";

export interface KafkaConnectionOptions {
  /** `host:port` each. */
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly tls?: ConnectionOptions | true;
  readonly sasl?: SASLOptions;
}

/** A request without an answer for so long failed; a frozen broker is noticed by it. */
const REQUEST_TIMEOUT_MS = 10_000;
const CONNECTION_TIMEOUT_MS = 3_000;

/** Few and short: who fails after them tries again with a longer backoff of their own. */
export const KAFKA_RETRY = { initialRetryTime: 150, maxRetryTime: 1_000, retries: 4 } as const;

export function createKafka(
  options: KafkaConnectionOptions,
  logger: Logger,
  requestTimeoutMs = REQUEST_TIMEOUT_MS,
): Kafka {
  return new Kafka({
    brokers: [...options.brokers],
    clientId: options.clientId,
    ...(options.tls !== undefined && { ssl: options.tls }),
    ...(options.sasl !== undefined && { sasl: options.sasl }),
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    requestTimeout: requestTimeoutMs,
    retry: KAFKA_RETRY,
    logLevel: logLevel.WARN,
    logCreator: () => (entry) => log(logger, entry),
  });
}

/** The error of a start: says which setting to look at. */
export function cannotConnect(options: KafkaConnectionOptions, cause: unknown): GatewayError {
  return new GatewayError(
    "unavailable",
    `KAFKA_BROKERS: none of ${options.brokers.join(", ")} could be reached (${describe(cause)}); it must list brokers as host:port`,
    { cause },
  );
}

/** What an error of kafkajs says; its messages hold addresses and topics, never records. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}

// Said for every producer that does not retry forever; ours is replaced after a failure instead.
const EXPECTED_WARNING = "Limiting retries for the idempotent producer";

const TOLD_FIELDS = ["groupId", "broker", "topic", "partition", "error", "retryCount", "retryTime"];

function log(logger: Logger, entry: LogEntry): void {
  const { message, ...extra } = entry.log;
  if (message.startsWith(EXPECTED_WARNING)) return;
  const fields = Object.fromEntries(
    TOLD_FIELDS.filter((name) => extra[name] !== undefined).map((name) => [name, extra[name] as unknown]),
  );
  logger.debug({ ...fields, part: entry.namespace }, `kafka: ${message}`);
}
