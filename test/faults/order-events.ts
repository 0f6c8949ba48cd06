/**
 * A service that writes order events to Kafka, keyed by their order, and the apps that follow those orders. Its
 * writes are part of the ledger: acknowledged by Kafka, they must come to every follower once and in the order
 * of their key. Which position they take in the channel is nobody's to tell it: that is taken from who read it.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Kafka, logLevel, type Producer } from "kafkajs";
import { eventTag } from "#proto/event-tag.js";
import type { Cluster } from "#test/e2e/cluster.js";
import { asJson, asProtobuf } from "#test/e2e/event-topics.js";
import { waitFor } from "#test/support/wait-for.js";
import { Device } from "./device.js";
import type { Ledger, ReaderRecord, Write } from "./ledger.js";
import type { Random } from "#test/support/random.js";

export interface OrderEventsOptions {
  readonly cluster: Cluster;
  readonly brokers: string;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly orders: number;
  readonly readersPerOrder: number;
}

interface Order {
  readonly id: string;
  readonly channel: string;
  readonly readers: ReadonlySet<string>;
  sequence: number;
}

interface Written {
  readonly write: Write;
  readonly eventId: string;
}

const BATCH_MS = 50;

export class OrderEvents {
  readonly devices: Device[] = [];
  readonly written: Written[] = [];
  readonly #orders: Order[] = [];

  private constructor(
    private readonly options: OrderEventsOptions,
    private readonly producer: Producer,
  ) {}

  /** Resolves when everybody follows their order. */
  static async start(options: OrderEventsOptions): Promise<OrderEvents> {
    const kafka = new Kafka({
      clientId: "orders",
      brokers: options.brokers.split(","),
      logLevel: logLevel.NOTHING,
    });
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    const events = new OrderEvents(options, producer);
    for (let index = 0; index < options.orders; index += 1) await events.#addOrder(index);
    return events;
  }

  /** Writes so many, evenly over that time and in turn over the orders, in both encodings. */
  async write(count: number, perSecond: number): Promise<void> {
    const beganMs = performance.now();
    for (let written = 0; written < count;) {
      const due = Math.min(count, Math.ceil(((performance.now() - beganMs) * perSecond) / 1000));
      if (due > written) await this.#send(due - written);
      written = Math.max(written, due);
      await sleep(BATCH_MS);
    }
  }

  /** Resolves when every follower has read every event, or the time is over. */
  async untilRead(timeoutMs: number): Promise<void> {
    const isRead = (): boolean => {
      const seen = this.#seen();
      return this.written.every(({ write }) =>
        [...write.readers].every((reader) => seen.get(reader)?.has(write.payload) === true),
      );
    };
    // What was not read is the verdict's to tell.
    await waitFor(isRead, { what: "all order events", timeoutMs, pollMs: 250 }).catch(() => undefined);
  }

  /** Gives the writes the positions that readers saw; one that nobody read has a place where nobody looks. */
  settle(): void {
    const { ledger } = this.options;
    const places = new Map<
      string,
      { readonly epoch: string; readonly offset: number; readonly tag: number }
    >();
    for (const record of this.#records()) {
      for (const entry of record.entries)
        if (entry.type === "read") places.set(entry.eventId, entry.position);
    }
    for (const [index, { write, eventId }] of this.written.entries()) {
      const nowhere = { epoch: "never read", offset: index + 1, tag: eventTag(eventId) };
      const position = places.get(eventId) ?? nowhere;
      ledger.ended(write, { kind: "acknowledged", position, eventId }, write.endedMs);
    }
  }

  /** How long the slowest event that was written in that time was on its way to its last reader within it. */
  slowestMs(fromMs: number, toMs: number): number {
    const reads = new Map<string, number>();
    for (const { entries } of this.#records()) {
      for (const entry of entries) {
        if (entry.type === "read")
          reads.set(entry.payload, Math.max(entry.atMs, reads.get(entry.payload) ?? 0));
      }
    }
    const during = this.written.filter(({ write }) => write.beganMs >= fromMs && write.beganMs < toMs);
    return Math.max(
      0,
      ...during.map(({ write }) => Math.min(reads.get(write.payload) ?? Infinity, toMs) - write.beganMs),
    );
  }

  async stop(): Promise<void> {
    for (const device of this.devices) device.stop();
    await this.producer.disconnect();
  }

  async #addOrder(index: number): Promise<void> {
    const { cluster, ledger, random, readersPerOrder } = this.options;
    const id = randomUUID();
    const names = Array.from({ length: readersPerOrder }, (_, reader) => `eater-${index}-${reader}`);
    const order = { id, channel: `order:${id}`, readers: new Set(names), sequence: 0 };
    for (const [reader, name] of names.entries()) {
      await cluster.grant(id, { [name]: "MEMBER" });
      const device = new Device({
        ...{ name, random: random.branch(), tellsPositions: true, record: ledger.reader(name) },
        token: await cluster.token(name, "customer"),
        framing: reader % 2 === 0 ? "json" : "protobuf",
        edges: () =>
          cluster.edges.map((_, edge) => cluster.socketUrl((edge + reader) % cluster.edges.length)),
      });
      this.devices.push(device);
      await device.open();
      await device.follow(order.channel);
    }
    this.#orders.push(order);
  }

  async #send(count: number): Promise<void> {
    const { cluster, ledger } = this.options;
    const batch: Written[] = [];
    const messages = [];
    for (let index = 0; index < count; index += 1) {
      const order = this.#orders[(this.written.length + index) % this.#orders.length];
      if (order === undefined) throw new Error("there is no order");
      order.sequence += 1;
      const payload = `kafka-${order.id}-${order.sequence}`;
      const write = ledger.began({
        ...{ payload, source: "api", writer: `kafka-${order.id}`, channel: order.channel },
        ...{ readers: order.readers, sequence: order.sequence, beganMs: performance.now() },
      });
      const eventId = randomUUID();
      const data = { orderId: order.id, status: payload };
      const event = { eventId, type: "order.status.changed", app: cluster.app, data };
      messages.push({ key: order.id, ...(index % 2 === 0 ? asJson(event) : asProtobuf(event)) });
      batch.push({ write, eventId });
    }
    await this.producer.send({ topic: cluster.topics.orders, acks: -1, messages });
    for (const { write } of batch) write.endedMs = performance.now();
    this.written.push(...batch);
  }

  #records(): ReaderRecord[] {
    return this.devices.map(({ record }) => record);
  }

  #seen(): Map<string, Set<string>> {
    return new Map(
      this.#records().map(({ name, entries }) => [
        name,
        new Set(entries.flatMap((entry) => (entry.type === "read" ? [entry.payload] : []))),
      ]),
    );
  }
}
