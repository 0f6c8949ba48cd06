/**
 * Sends records that can never be read to their dead letter topic (`acks=all`), with the key, value and
 * headers that they came with. A failure is the caller's to retry: until it is stored, the record counts
 * as not handled.
 */
import { Partitioners, type Kafka, type KafkaMessage, type Producer } from "kafkajs";
import { deadLetterHeaders, deadLetterTopic } from "./dead-letter.js";

export interface DeadLetter {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly message: KafkaMessage;
  readonly reason: string;
}

export class KafkaDeadLetters {
  readonly #producer: Producer;
  #connecting: Promise<void> | undefined;

  constructor(kafka: Kafka) {
    this.#producer = kafka.producer({
      createPartitioner: Partitioners.DefaultPartitioner,
      maxInFlightRequests: 1,
    });
  }

  async send(letter: DeadLetter): Promise<void> {
    await this.#connect();
    const { key, value, headers } = letter.message;
    await this.#producer.send({
      topic: deadLetterTopic(letter.topic),
      acks: -1,
      messages: [{ key, value, headers: { ...headers, ...deadLetterHeaders(letter, letter.reason) } }],
    });
  }

  async close(): Promise<void> {
    if (this.#connecting) await this.#producer.disconnect();
  }

  /** Not before the first one: most processes never have any. */
  async #connect(): Promise<void> {
    this.#connecting ??= this.#producer.connect();
    try {
      await this.#connecting;
    } catch (error) {
      this.#connecting = undefined;
      throw error;
    }
  }
}
