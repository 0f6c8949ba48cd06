/**
 * Other services on the shared Kafka, for e2e tests: they write envelopes in both encodings to the topics
 * of a cluster, to a partition that the test chooses, and read a topic from its beginning.
 */
import { Kafka, logLevel, type IHeaders, type Producer } from "kafkajs";
import { Envelope } from "#proto/gen/realtime/events/v1/envelope.js";

export interface ServiceEvent {
  readonly eventId: string;
  readonly type: string;
  readonly app: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly correlationId?: string;
  readonly traceparent?: string;
  readonly version?: number;
}

export interface Written {
  readonly value: Buffer;
  readonly headers: IHeaders;
}

export interface ReadRecord {
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
}

export function asJson(event: ServiceEvent): Written {
  const occurredAt = new Date().toISOString();
  return { value: Buffer.from(JSON.stringify({ ...event, occurredAt })), headers: {} };
}

export function asProtobuf(event: ServiceEvent): Written {
  const envelope = Envelope.fromPartial({ ...event, data: undefined, occurredAtMs: Date.now() });
  envelope.data = event.data;
  const headers = { "content-type": "application/protobuf" };
  return { value: Buffer.from(Envelope.encode(envelope).finish()), headers };
}

export class EventTopics {
  readonly #kafka: Kafka;
  readonly #producer: Producer;
  readonly #stops: (() => Promise<void>)[] = [];

  private constructor(brokers: string) {
    this.#kafka = new Kafka({ clientId: "test", brokers: brokers.split(","), logLevel: logLevel.NOTHING });
    this.#producer = this.#kafka.producer({ allowAutoTopicCreation: false });
  }

  static async connect(brokers: string): Promise<EventTopics> {
    const topics = new EventTopics(brokers);
    await topics.#producer.connect();
    topics.#stops.push(() => topics.#producer.disconnect());
    return topics;
  }

  /** Resolves when they are stored, in this order. */
  async write(topic: string, partition: number, ...records: readonly Written[]): Promise<void> {
    const messages = records.map((record) => ({ ...record, partition }));
    await this.#producer.send({ topic, acks: -1, messages });
  }

  async partitions(topic: string): Promise<number> {
    const admin = this.#kafka.admin();
    await admin.connect();
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      return topics[0]?.partitions.length ?? 0;
    } finally {
      await admin.disconnect();
    }
  }

  /** Everything on the topic from its beginning; grows. */
  async read(topic: string, groupId: string): Promise<readonly ReadRecord[]> {
    // It ends when its last fetch does.
    const consumer = this.#kafka.consumer({ groupId, maxWaitTimeInMs: 200 });
    const records: ReadRecord[] = [];
    await consumer.connect();
    this.#stops.push(() => consumer.disconnect());
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: ({ message }) => {
        const headers = Object.entries(message.headers ?? {}).map(([name, value]) => [
          name,
          value?.toString() ?? "",
        ]);
        records.push({
          value: message.value?.toString() ?? "",
          headers: Object.fromEntries(headers) as Record<string, string>,
        });
        return Promise.resolve();
      },
    });
    return records;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#stops.map((stop) => stop()));
  }
}
