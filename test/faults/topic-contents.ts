/**
 * What stands on a Kafka topic, as another service would find it, and what it proves against a ledger: every
 * acknowledged event of the apps is there, and those of one channel stand in its order where each of them
 * first stands. Repeats are allowed: who reads the topic knows them by the event's id.
 */
import { randomUUID } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";
import { waitFor } from "#test/support/wait-for.js";
import type { Ledger, LedgerPosition } from "./ledger.js";

export interface TopicRecord {
  readonly partition: number;
  readonly key: string;
  readonly eventId: string;
}

/** Reads until every one of these events was read, or the time is over. */
export async function readTopic(
  brokers: string,
  topic: string,
  until: { readonly eventIds: ReadonlySet<string>; readonly timeoutMs: number },
): Promise<readonly TopicRecord[]> {
  const kafka = new Kafka({ clientId: "checker", brokers: brokers.split(","), logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: `checker-${randomUUID()}`, maxWaitTimeInMs: 300 });
  const records: TopicRecord[] = [];
  const waitingFor = new Set(until.eventIds);
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: ({ partition, message }) => {
        const eventId = message.headers?.["event-id"]?.toString() ?? "";
        records.push({ partition, key: message.key?.toString() ?? "", eventId });
        waitingFor.delete(eventId);
        return Promise.resolve();
      },
    });
    const what = `all events on ${topic}`;
    // What is missing is the caller's to tell.
    await waitFor(() => waitingFor.size === 0, { what, timeoutMs: until.timeoutMs, pollMs: 50 }).catch(
      () => undefined,
    );
  } finally {
    await consumer.disconnect();
  }
  return records;
}

export interface Expected {
  readonly eventId: string;
  readonly channel: string;
  readonly position: LedgerPosition;
}

/** The events of apps that were acknowledged. */
export function acknowledgedOfApps(ledger: Ledger): Expected[] {
  return [...ledger.writes.values()].flatMap(({ source, channel, outcome }) =>
    source === "client" && outcome.kind === "acknowledged"
      ? [{ eventId: outcome.eventId, channel, position: outcome.position }]
      : [],
  );
}

/** What the topic lacks, or has in another order than the channels. */
export function topicFaults(records: readonly TopicRecord[], expected: readonly Expected[]): string[] {
  const faults: string[] = [];
  const firstPlace = new Map<string, { readonly partition: number; readonly at: number }>();
  for (const [at, { eventId, partition }] of records.entries()) {
    if (!firstPlace.has(eventId)) firstPlace.set(eventId, { partition, at });
  }
  const lastOf = new Map<
    string,
    { readonly partition: number; readonly at: number; readonly eventId: string }
  >();
  const inOrder = [...expected].sort((left, right) => left.position.offset - right.position.offset);
  for (const { eventId, channel } of inOrder) {
    const place = firstPlace.get(eventId);
    if (place === undefined) {
      faults.push(`${eventId} of ${channel} is missing`);
      continue;
    }
    const last = lastOf.get(channel);
    if (last !== undefined && last.partition !== place.partition) {
      faults.push(`${eventId} and ${last.eventId} of ${channel} are in two partitions`);
    } else if (last !== undefined && place.at < last.at) {
      faults.push(`${eventId} stands before ${last.eventId}, which is older in ${channel}`);
    }
    lastOf.set(channel, { ...place, eventId });
  }
  return faults;
}
