import { randomUUID } from "node:crypto";
import { Kafka, logLevel, Partitioners, type Admin, type Consumer } from "kafkajs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi } from "vitest";
import type {} from "#test/support/provided-context.js";
import { Envelope } from "#proto/gen/realtime/events/v1/envelope.js";
import { deadLetterTopic } from "./dead-letter.js";
import { readEnvelope, writeEnvelope } from "./envelope.js";
import { describeEventBus } from "./event-bus.contract.js";
import { KafkaEventSink } from "./event-sink-kafka.js";
import { KafkaEventSource, type KafkaEventSourceOptions } from "./event-source-kafka.js";
import { inOrder, UnreadableRecord } from "./event-source.js";

const WAIT = { timeout: 30_000, interval: 20 };
const PARTITIONS = 4;
const connection = { brokers: inject("kafkaBrokers").split(","), clientId: "realtime-gateway-test" };
const silent = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function ignore(): void {
  // Tests look at what happens, not at the log.
}

function sourceOn(topic: string, more: Partial<KafkaEventSourceOptions> = {}): KafkaEventSource {
  return new KafkaEventSource({
    connection,
    logger: silent,
    topics: [topic],
    groupId: `group-of-${topic}`,
    newTopicPartitions: PARTITIONS,
    retryBackoff: { initialMs: 10, maxMs: 100 },
    restartBackoff: { initialMs: 100, maxMs: 500 },
    ...more,
  });
}

function uniqueTopic(): string {
  return `events-${randomUUID()}`;
}

const kafka = new Kafka({ ...connection, logLevel: logLevel.NOTHING });

async function makeTopics(admin: Admin, topic: string): Promise<void> {
  await admin.createTopics({
    waitForLeaders: true,
    topics: [
      { topic, numPartitions: PARTITIONS },
      { topic: deadLetterTopic(topic), numPartitions: 1 },
    ],
  });
}

/** A busy broker may have deleted a topic when kafkajs, which heard nothing in time, asks again. */
async function dropTopics(admin: Admin, ...topics: string[]): Promise<void> {
  try {
    await admin.deleteTopics({ topics });
  } catch (error) {
    const left = new Set(await admin.listTopics());
    if (topics.some((topic) => left.has(topic))) throw error;
  }
}

describeEventBus("the Kafka event bus", async () => {
  const topic = uniqueTopic();
  const admin = kafka.admin();
  await admin.connect();
  await makeTopics(admin, topic);
  const sink = new KafkaEventSink({ connection, logger: silent });
  await sink.start();
  const listeners: Consumer[] = [];
  return {
    topic,
    sink,
    source: () => sourceOn(topic),
    hear: async (heardTopic, listener) => {
      const consumer = kafka.consumer({ groupId: `listener-${randomUUID()}`, maxWaitTimeInMs: 50 });
      listeners.push(consumer);
      await consumer.connect();
      await consumer.subscribe({ topics: [heardTopic], fromBeginning: true });
      await consumer.run({
        eachMessage: async ({ message }) => {
          const headers = Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]);
          listener({
            topic: heardTopic,
            key: String(message.key),
            value: message.value ?? Buffer.alloc(0),
            headers: Object.fromEntries(headers) as Record<string, string>,
          });
          return Promise.resolve();
        },
      });
    },
    close: async () => {
      await Promise.all(listeners.map((listener) => listener.disconnect()));
      await sink.close();
      await dropTopics(admin, topic, deadLetterTopic(topic));
      await admin.disconnect();
    },
  };
});

describe("the Kafka event source", { timeout: 90_000 }, () => {
  const admin = kafka.admin();
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  let topic: string;
  let source: KafkaEventSource;

  beforeAll(async () => {
    await admin.connect();
    await producer.connect();
  }, 30_000);
  afterAll(async () => {
    await producer.disconnect();
    await admin.disconnect();
  });
  beforeEach(async () => {
    topic = uniqueTopic();
    source = sourceOn(topic);
    await makeTopics(admin, topic);
  }, 30_000);
  afterEach(async () => {
    await source.stop();
    await dropTopics(admin, topic, deadLetterTopic(topic));
  }, 30_000);

  async function produce(...values: string[]): Promise<void> {
    await producer.send({ topic, messages: values.map((value) => ({ key: "k", value })) });
  }

  it("reads envelopes in both encodings", async () => {
    const heard: unknown[] = [];
    await source.start(inOrder(async (record) => void heard.push(readEnvelope(record))));
    const envelope = {
      ...Envelope.create({ eventId: "e1", type: "order.created" }),
      data: { orderId: "42" },
    };
    const encoded = Buffer.from(Envelope.encode(envelope).finish());
    const json = writeEnvelope({ topic, key: "k" }, { ...envelope, app: "default", data: { orderId: "42" } });
    await producer.send({
      topic,
      messages: [
        { key: "k", value: encoded, headers: { "content-type": "application/protobuf" } },
        { key: "k", value: Buffer.from(json.value) },
      ],
    });
    await vi.waitFor(() => expect(heard).toHaveLength(2), WAIT);
    expect(heard[0]).toMatchObject({ eventId: "e1", type: "order.created", data: { orderId: "42" } });
    expect(heard[1]).toEqual(heard[0]);
  });

  it("commits a record only after its handler resolved", async () => {
    let finish: (() => void) | undefined;
    await source.start(
      inOrder(async (record) => {
        if (String(record.value) !== "1") await new Promise<void>((resolve) => (finish = resolve));
      }),
    );
    await produce("1", "2");
    const committed = async (): Promise<number> => {
      const [offsets] = await admin.fetchOffsets({ groupId: `group-of-${topic}`, topics: [topic] });
      return (offsets?.partitions ?? []).reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0);
    };
    await vi.waitFor(async () => expect(await committed()).toBe(1), WAIT);
    // The broker has the commit before the source has the broker's answer.
    await vi.waitFor(() => expect(source.lag()).toEqual({ [topic]: 1 }), WAIT);
    finish?.();
    await vi.waitFor(async () => expect(await committed()).toBe(2), WAIT);
    await vi.waitFor(() => expect(source.lag()).toEqual({ [topic]: 0 }), WAIT);
  });

  it("handles each record once when more come than a lane takes, and its handler is slow", async () => {
    // More than one fetch brings, so that the partition must be paused and resumed on the way.
    const values = Array.from({ length: 3_000 }, (_, index) => String(index).padEnd(600));
    await produce(...values.slice(0, 1_500));
    await produce(...values.slice(1_500));
    const done: string[] = [];
    await source.start(
      inOrder(async (record) => {
        await new Promise((resolve) => setImmediate(resolve));
        done.push(Buffer.from(record.value).toString());
      }),
    );
    await vi.waitFor(() => expect(done.length).toBeGreaterThanOrEqual(values.length), WAIT);
    expect(done).toEqual(values);
  });

  it("shares the partitions with a second source; every record is handled when it leaves again", async () => {
    const done = new Set<string>();
    const keys = Array.from({ length: 40 }, (_, index) => `key-${index}`);
    const handler = async (record: { value: Uint8Array }): Promise<void> => {
      done.add(Buffer.from(record.value).toString());
      return Promise.resolve();
    };
    const sendRound = async (round: string): Promise<void> => {
      const messages = keys.map((key) => ({ key, value: `${round} ${key}` }));
      await producer.send({ topic, messages });
    };
    await source.start(inOrder(handler));
    await sendRound("alone");
    const second = sourceOn(topic);
    await second.start(inOrder(handler));
    await sendRound("together");
    await vi.waitFor(() => expect(done.size).toBe(80), WAIT);
    await second.stop();
    await sendRound("alone again");
    await vi.waitFor(() => expect(done.size).toBe(120), WAIT);
  });

  it("turns red when its consumer crashes, and comes back by itself", async () => {
    const done: string[] = [];
    await source.start(inOrder(async (record) => void done.push(String(record.value))));
    await produce("before");
    await vi.waitFor(() => expect(done).toEqual(["before"]), WAIT);
    // A topic that vanishes under a consumer crashes it; the source makes it again.
    await dropTopics(admin, topic);
    await vi.waitFor(() => expect(source.status().isConnected).toBe(false), WAIT);
    await vi.waitFor(() => expect(source.status().isConnected).toBe(true), WAIT);
    expect(source.status().reconnectAttempts).toBe(0);
    await vi.waitFor(async () => {
      if (!done.includes("after")) await produce("after");
      expect(done).toContain("after");
    }, WAIT);
  });

  it("makes the topics that are missing, dead letters included", async () => {
    const fresh = uniqueTopic();
    const other = sourceOn(fresh);
    await other.start(inOrder(async () => Promise.reject(new UnreadableRecord("never"))));
    expect(other.status().isConnected).toBe(true);
    const names = await admin.listTopics();
    expect(names).toEqual(expect.arrayContaining([fresh, deadLetterTopic(fresh)]));
    await other.stop();
    await dropTopics(admin, fresh, deadLetterTopic(fresh));
  });

  it("waits for a topic that cannot be made, says so, and serves the others meanwhile", async () => {
    const done: string[] = [];
    const told: object[] = [];
    const topics = [topic, "not a legal topic name"];
    const logger = { ...silent, error: (fields: object) => void told.push(fields) };
    const other = sourceOn(topic, { topics, groupId: `other-${topic}`, logger });
    await other.start(inOrder(async (record) => void done.push(String(record.value))));
    await produce("1");
    await vi.waitFor(() => expect(done).toEqual(["1"]), WAIT);
    expect(other.status().isConnected).toBe(true);
    expect(JSON.stringify(told)).toContain("not a legal topic name");
    await other.stop();
  });

  it("is not connected, but does not fail, while none of its topics exists", async () => {
    const other = sourceOn(topic, { topics: ["not a legal topic name"], groupId: `other-${topic}` });
    await other.start(inOrder(async () => Promise.resolve()));
    expect(other.status().isConnected).toBe(false);
    await other.stop();
  });

  it("fails to start with an error that names KAFKA_BROKERS where no broker answers", async () => {
    const nowhere = sourceOn(topic, { connection: { brokers: ["127.0.0.1:1"], clientId: "test" } });
    await expect(nowhere.start(inOrder(async () => Promise.resolve()))).rejects.toThrow(
      /KAFKA_BROKERS.*127\.0\.0\.1:1/,
    );
    const sink = new KafkaEventSink({
      connection: { brokers: ["127.0.0.1:1"], clientId: "test" },
      logger: silent,
    });
    await expect(sink.start()).rejects.toThrow("KAFKA_BROKERS");
  });
});
