/**
 * Sees to it that topics exist: makes those that are missing where the cluster lets us, and otherwise
 * tells which ones somebody has to make.
 */
import type { Admin } from "kafkajs";
import { createKafka, describe, type KafkaConnectionOptions } from "./kafka-connection.js";
import type { Logger } from "#fanout/fanout-logger.js";

export interface WantedTopic {
  readonly topic: string;
  /** For a topic that is made; -1 is the cluster's default. */
  readonly partitions: number;
  /** For a topic that is made, what differs from the cluster's defaults. */
  readonly config?: Readonly<Record<string, string>>;
}

const CREATE_TIMEOUT_MS = 5_000;

export interface MissingTopic {
  readonly topic: string;
  /** Why it could not be made. */
  readonly reason: string;
}

/** @returns the topics that still do not exist. */
export async function ensureTopics(
  admin: Admin,
  wanted: readonly WantedTopic[],
  logger: Logger,
): Promise<readonly MissingTopic[]> {
  const present = new Set(await admin.listTopics());
  const missing: MissingTopic[] = [];
  for (const { topic, partitions, config = {} } of wanted) {
    if (present.has(topic)) continue;
    try {
      await admin.createTopics({
        topics: [
          {
            topic,
            numPartitions: partitions,
            replicationFactor: -1,
            configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
          },
        ],
        waitForLeaders: true,
        timeout: CREATE_TIMEOUT_MS,
      });
      logger.info({ topic }, "kafka: made a topic that was missing");
    } catch (error) {
      missing.push({ topic, reason: describe(error) });
    }
  }
  return missing;
}

/** For topics that are written to: like `ensureTopics`, with a connection of its own. Never fails, but tells. */
export async function makeMissingTopics(
  connection: KafkaConnectionOptions,
  wanted: readonly WantedTopic[],
  logger: Logger,
): Promise<void> {
  const admin = createKafka(connection, logger).admin();
  try {
    await admin.connect();
    const missing = await ensureTopics(admin, wanted, logger);
    if (missing.length > 0) logger.error({ missing }, "kafka: topics are missing that somebody has to make");
  } catch (error) {
    logger.warn({ reason: describe(error) }, "kafka: could not look whether topics are missing");
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}
