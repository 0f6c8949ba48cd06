import { randomUUID } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";
import { afterEach, describe, expect, inject, it, vi } from "vitest";
import type {} from "#test/support/provided-context.js";
import { KafkaEventSink, type KafkaEventSinkOptions } from "./event-sink-kafka.js";
import type { SinkRecord } from "./event-sink.js";

const connection = { brokers: inject("kafkaBrokers").split(","), clientId: "realtime-gateway-test" };
const nowhere = { brokers: ["127.0.0.1:1"], clientId: "realtime-gateway-test" };
const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function ignore(): void {
  // Tests look at what happens, not at the log.
}

function record(topic: string, value: string | Uint8Array, key = "k"): SinkRecord {
  return { topic, key, value: Buffer.from(value), headers: { source: "test" } };
}

describe("the Kafka event sink", { timeout: 60_000 }, () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function sinkOn(options: Partial<KafkaEventSinkOptions> = {}): KafkaEventSink {
    const sink = new KafkaEventSink({ connection, logger: silent, ...options });
    closing.push(() => sink.close());
    return sink;
  }

  it("stores what is sent in one turn in order, to several topics, and counts it", async () => {
    const topics = [`out-${randomUUID()}`, `out-${randomUUID()}`] as const;
    const admin = new Kafka({ ...connection, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    closing.push(() => admin.disconnect());
    await admin.createTopics({ waitForLeaders: true, topics: topics.map((topic) => ({ topic })) });
    // Best effort: the names are unique, and a busy broker may answer after kafkajs has given up.
    closing.push(() => admin.deleteTopics({ topics: [...topics] }).catch(() => undefined));

    const sink = sinkOn();
    await sink.start();
    const numbers = Array.from({ length: 500 }, (_, index) => String(index));
    const sent = numbers.map((number) => sink.send(topics.map((topic) => record(topic, number))));
    expect(sink.counters).toEqual({ sent: 0, failed: 0, buffered: 1_000 });
    await Promise.all(sent);
    expect(sink.counters).toEqual({ sent: 1_000, failed: 0, buffered: 0 });
    expect(sink.isConnected()).toBe(true);

    const consumer = new Kafka({ ...connection, logLevel: logLevel.NOTHING }).consumer({
      groupId: `reader-${randomUUID()}`,
      maxWaitTimeInMs: 200,
    });
    await consumer.connect();
    closing.push(() => consumer.disconnect());
    await consumer.subscribe({ topics: [...topics], fromBeginning: true });
    const read = new Map<string, string[]>(topics.map((topic) => [topic, []]));
    await consumer.run({
      eachMessage: async ({ topic, message }) => {
        read.get(topic)?.push(String(message.value));
        return Promise.resolve();
      },
    });
    for (const topic of topics) {
      await vi.waitFor(() => expect(read.get(topic)?.length).toBeGreaterThanOrEqual(500), {
        timeout: 20_000,
      });
      expect(read.get(topic)).toEqual(numbers);
    }
  });

  it("fails with unavailable while Kafka is away, then at once until it is time to try again", async () => {
    const sink = sinkOn({ connection: nowhere, now: () => 0 });
    await expect(sink.send([record("t", "1")])).rejects.toMatchObject({ kind: "unavailable" });
    expect(sink.isConnected()).toBe(false);
    const refused = sink.send([record("t", "2")]);
    expect(sink.counters).toEqual({ sent: 0, failed: 2, buffered: 0 });
    await expect(refused).rejects.toMatchObject({ kind: "unavailable" });
    await expect(refused).rejects.toHaveProperty("retryAfterMs", expect.any(Number));
  });

  it("refuses what its buffer has no room for, and fails what waits behind a failure", async () => {
    const sink = sinkOn({ connection: nowhere, maxBufferedRecords: 3 });
    const sent = ["1", "2", "3"].map((value) => sink.send([record("t", value)]));
    const settled = Promise.allSettled(sent);
    await expect(sink.send([record("t", "4")])).rejects.toThrow("too much waits");
    expect(sink.counters).toEqual({ sent: 0, failed: 1, buffered: 3 });
    expect((await settled).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(sink.counters).toEqual({ sent: 0, failed: 4, buffered: 0 });
  });

  it("bounds its buffer in bytes too", async () => {
    const sink = sinkOn({ connection: nowhere, maxBufferedBytes: 1_000 });
    await expect(sink.send([record("t", "x".repeat(1_000))])).rejects.toMatchObject({ kind: "unavailable" });
    expect(sink.counters).toEqual({ sent: 0, failed: 1, buffered: 0 });
  });

  it("refuses a record that fits no batch as payload_too_large, instead of failing its neighbours", async () => {
    const sink = sinkOn({ connection: nowhere });
    const huge = record("t", new Uint8Array(600 * 1024));
    await expect(sink.send([huge])).rejects.toMatchObject({ kind: "payload_too_large" });
  });

  it("takes nothing more once it is closed", async () => {
    const sink = sinkOn({ connection: nowhere });
    await sink.close();
    await expect(sink.send([record("t", "1")])).rejects.toMatchObject({ kind: "unavailable" });
  });
});
