/** The Kafka of a test run does what tests rely on: topics, idempotent producers, groups. */
import { randomUUID } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";
import { expect, inject, test } from "vitest";
import { waitFor } from "./wait-for.js";

test("the shared Kafka delivers what an idempotent producer wrote to a consumer group", async () => {
  const kafka = new Kafka({ brokers: inject("kafkaBrokers").split(","), logLevel: logLevel.NOTHING });
  const topic = `shared-kafka-${randomUUID()}`;
  const admin = kafka.admin();
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  const consumer = kafka.consumer({ groupId: topic, sessionTimeout: 6_000, maxWaitTimeInMs: 100 });
  try {
    await admin.connect();
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
    await producer.connect();
    await producer.send({ topic, acks: -1, messages: [{ value: "one" }, { value: "two" }] });
    const received: string[] = [];
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: ({ message }) => {
        received.push(String(message.value));
        return Promise.resolve();
      },
    });
    await waitFor(() => received.length === 2, { what: "both messages", timeoutMs: 15_000 });
    expect(received).toEqual(["one", "two"]);
  } finally {
    await consumer.disconnect();
    await producer.disconnect();
    await admin.disconnect();
  }
});
