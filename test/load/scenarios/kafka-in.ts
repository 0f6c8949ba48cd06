/**
 * Order events of another service, from Kafka to the one app that follows each order. What is measured begins
 * when the event is handed to Kafka, and ends at the socket; that every event arrived says that no lag is
 * left. Kafka's own processor time is not the gateway's. Gateway alone.
 */
import { Kafka, logLevel, type Producer } from "kafkajs";
import { clientsInRooms } from "#test/load/clients.js";
import type { ClientPlan, Contestant } from "#test/load/contestant.js";
import { asGateway, type RunningGateway } from "#test/load/contestants/gateway.js";
import { withCost } from "#test/load/cost.js";
import type { LoadResult } from "#test/load/generator/generator.js";
import { outcomeOf } from "#test/load/load-outcome.js";
import { ROSTER } from "#test/load/roster.js";
import type { EntrantsOfRun, Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { accuracyTextOf, monotonicUs } from "#test/load/send-time.js";
import { startSharedStores, type SharedStores } from "#test/support/shared-stores.js";
import { bringIn } from "./steps.js";

const CONNECTIONS = 1000;
/** How often what is due is written. */
const BATCH_MS = 5;
/** A group that has just been joined reads nothing for a while. */
const FIRST_EVENT_ATTEMPTS = 10;

const pointOf = (perSecond: number): string => `Kafka in, ${perSecond.toLocaleString("en-US")}/s`;

const sizeOf = ({ isQuick }: ScenarioSize) =>
  isQuick
    ? { rates: [5000], seconds: 5, warmUpSeconds: 2 }
    : { rates: [5000, 10_000], seconds: 15, warmUpSeconds: 4 };

export const kafkaIn: Scenario = {
  name: "kafka-in",
  description: "5,000 and 10,000 order events/s from Kafka, one follower each",
  headline: "p99Ms",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => entrants(size),
};

/** One Kafka for all rounds, started by the first turn, whose failure it is where there is none. */
function entrants(size: ScenarioSize): EntrantsOfRun {
  let stores: SharedStores | undefined;
  const contestant: Contestant = {
    name: ROSTER.gatewayProtobuf.name,
    start: async (options) => {
      stores ??= await startSharedStores(["Kafka"], (line) => process.stderr.write(`${line}\n`));
      if (stores.kafkaBrokers === undefined) throw new Error("there is no Kafka");
      return ROSTER.gatewayProtobuf.start({ ...options, kafkaBrokers: stores.kafkaBrokers });
    },
  };
  return {
    entrants: [
      {
        contestant,
        options: {},
        points: sizeOf(size).rates.map(pointOf),
        measure: (turn) => measure(turn, size, () => stores?.kafkaBrokers ?? ""),
      },
    ],
    stop: async () => stores?.stop(),
  };
}

async function* measure(turn: Turn, size: ScenarioSize, brokers: () => string): AsyncGenerator<Measurement> {
  const { rates, seconds, warmUpSeconds } = sizeOf(size);
  const clients = clientsInRooms({ connections: CONNECTIONS, roomSize: 1, senders: 0 });
  await bringIn(turn, clients);
  const kafka = new Kafka({ clientId: "bench", brokers: brokers().split(","), logLevel: logLevel.NOTHING });
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  try {
    const orders = new OrderService(turn, producer, asGateway(turn.contestant), clients);
    await orders.untilRead();
    for (const perSecond of rates) {
      turn.progress(`${perSecond} events/s for ${warmUpSeconds} + ${seconds} s`);
      await orders.write({ perSecond, seconds: warmUpSeconds });
      const { value, cost } = await withCost(turn, () => orders.write({ perSecond, seconds }));
      yield { point: pointOf(perSecond), outcome: outcomeOf(value, cost) };
    }
  } finally {
    await producer.disconnect();
  }
}

/** Writes that an order's status changed, for the orders in turn; in order for each of them. */
class OrderService {
  #written = 0;

  constructor(
    private readonly turn: Turn,
    private readonly producer: Producer,
    private readonly gateway: RunningGateway,
    private readonly clients: readonly ClientPlan[],
  ) {}

  /** Resolves when an event has come all the way to every socket. */
  async untilRead(): Promise<void> {
    for (let attempt = 1; attempt <= FIRST_EVENT_ATTEMPTS; attempt += 1) {
      const { lost } = await this.write({ perSecond: this.clients.length, seconds: 1 });
      if (lost === 0) return;
      this.turn.progress(`the gateway does not read everything yet: ${lost} events missing`);
    }
    throw new Error("the gateway does not read from Kafka");
  }

  async write(options: { readonly perSecond: number; readonly seconds: number }): Promise<LoadResult> {
    const { generator, sleep } = this.turn;
    const total = Math.round(options.perSecond * options.seconds);
    await generator.beginMeasuring();
    const beganMs = performance.now();
    for (let done = 0; done < total;) {
      const elapsedMs = performance.now() - beganMs;
      const due = Math.min(total, Math.floor((elapsedMs * options.perSecond) / 1000) + 1);
      // One batch after the other: two at once could overtake each other.
      if (due > done) await this.#send(due - done);
      done = due;
      await sleep(BATCH_MS);
    }
    return generator.endMeasuring(total);
  }

  async #send(count: number): Promise<void> {
    const { app, topics } = this.gateway;
    const messages = Array.from({ length: count }, () => {
      const { room } = this.clients[this.#written % this.clients.length] ?? { room: "" };
      this.#written += 1;
      const data = { orderId: room, status: "picked_up", message: accuracyTextOf(monotonicUs()) };
      const event = { eventId: `bench-${this.#written}`, type: "order.status.changed", app, data };
      return { key: room, value: JSON.stringify(event) };
    });
    await this.producer.send({ topic: topics.orders, acks: -1, messages });
  }
}
