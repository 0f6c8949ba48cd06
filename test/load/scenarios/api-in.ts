/**
 * Durable publishes from a backend through gRPC, as fast as they are taken: one by one (a call for each, so many
 * at once), in batches, and streamed (a request for each, so many without an answer). Each order is followed by
 * one client, which must get every event of it, in order. Gateway alone.
 */
import { clientsInRooms } from "#test/load/clients.js";
import type { BackendEvent, ClientPlan } from "#test/load/contestant.js";
import { asGateway } from "#test/load/contestants/gateway.js";
import type { GatewayBackend } from "#test/load/contestants/gateway-backend.js";
import { withCost } from "#test/load/cost.js";
import type { LoadResult } from "#test/load/generator/generator.js";
import { LatencyHistogram } from "#test/load/generator/latency-histogram.js";
import { outcomeOf } from "#test/load/load-outcome.js";
import { ROSTER } from "#test/load/roster.js";
import type { Entrant, Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { monotonicUs } from "#test/load/send-time.js";
import { bringIn } from "./steps.js";

/** How one fanout is published to. */
interface Publishing {
  publish(events: readonly BackendEvent[]): Promise<void>;
  end(): Promise<void>;
}

interface WayIn {
  readonly point: string;
  readonly itemsARequest: number;
  /** Without an answer, of each fanout. */
  readonly requestsAtOnce: number;
  readonly open: (backend: GatewayBackend, fanout: number) => Publishing;
}

const inCalls = (backend: GatewayBackend, fanout: number): Publishing => ({
  publish: (events) => backend.publishStatuses(events, { fanout }),
  end: () => Promise.resolve(),
});

const inAStream = (backend: GatewayBackend, fanout: number): Publishing => backend.openStatuses({ fanout });

const WAYS: readonly WayIn[] = [
  { point: "one by one", itemsARequest: 1, requestsAtOnce: 32, open: inCalls },
  { point: "in batches", itemsARequest: 100, requestsAtOnce: 4, open: inCalls },
  { point: "streamed", itemsARequest: 1, requestsAtOnce: 128, open: inAStream },
];

/** More than there are events under way: none waits for another of its order. */
const ORDERS = 1000;

const sizeOf = ({ isQuick }: ScenarioSize) =>
  isQuick ? { seconds: 4, warmUpSeconds: 1 } : { seconds: 10, warmUpSeconds: 3 };

export const apiIn: Scenario = {
  name: "api-in",
  description:
    "durable publishes through gRPC, one by one, in batches and streamed, to two fanouts and to one",
  headline: "publishesPerSecond",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => ({
    entrants: [entrant(2, "API in", size), entrant(1, "API in, one fanout", size)],
  }),
};

function entrant(fanouts: number, name: string, size: ScenarioSize): Entrant {
  const pointOf = ({ point }: WayIn): string => `${name}, ${point}`;
  return {
    contestant: ROSTER.gatewayProtobuf,
    options: { edges: 1, fanouts },
    points: WAYS.map(pointOf),
    async *measure(turn) {
      const clients = clientsInRooms({ connections: ORDERS, roomSize: 1, senders: 0 });
      await bringIn(turn, clients);
      const service = new OrderService(turn, { clients, fanouts });
      const { seconds, warmUpSeconds } = sizeOf(size);
      for (const way of WAYS) {
        const point = pointOf(way);
        turn.progress(`${point} for ${warmUpSeconds} + ${seconds} s`);
        await service.publishFor(warmUpSeconds, way);
        yield await measure(turn, point, () => service.publishFor(seconds, way));
      }
    },
  };
}

async function measure(
  turn: Turn,
  point: string,
  publish: () => Promise<PublishedLoad>,
): Promise<Measurement> {
  const { value, cost } = await withCost(turn, publish);
  const { result, published, publishSeconds, answers } = value;
  const { p50, p95, p99 } = answers.latencyMs;
  const further = {
    publishesPerSecond: published / publishSeconds,
    cpuPerPublishUs: (cost.cpuSeconds * 1e6) / published,
    ...{ answerP50Ms: p50, answerP95Ms: p95, answerP99Ms: p99 },
  };
  return { point, outcome: outcomeOf(result, cost, { further }) };
}

interface PublishedLoad {
  /** At the followers, when all that was on its way had time to come. */
  readonly result: LoadResult;
  readonly published: number;
  readonly publishSeconds: number;
  /** From asking to the answer. */
  readonly answers: LatencyHistogram;
}

/** Says that orders were picked up, for the orders in turn. An event that is not taken is an error. */
class OrderService {
  /** Over all loads, so that no idempotency key is met twice. */
  #sequence = 0;

  constructor(
    private readonly turn: Turn,
    private readonly options: { readonly clients: readonly ClientPlan[]; readonly fanouts: number },
  ) {}

  async publishFor(seconds: number, way: WayIn): Promise<PublishedLoad> {
    const { generator, contestant } = this.turn;
    const { backend } = asGateway(contestant);
    const answers = new LatencyHistogram();
    const before = this.#sequence;
    const publishings = Array.from({ length: this.options.fanouts }, (_, fanout) =>
      way.open(backend, fanout),
    );
    await generator.beginMeasuring();
    const beganMs = performance.now();
    const publishers = publishings.flatMap((each) => Array.from({ length: way.requestsAtOnce }, () => each));
    const publisher = async (publishing: Publishing, index: number): Promise<void> => {
      const rooms = this.#roomsOf(index, publishers.length);
      while (performance.now() < beganMs + seconds * 1000) {
        const askedAtUs = monotonicUs();
        await publishing.publish(this.#events(rooms, way.itemsARequest, askedAtUs));
        answers.add(monotonicUs() - askedAtUs);
      }
    };
    await Promise.all(publishers.map(publisher));
    const publishSeconds = (performance.now() - beganMs) / 1000;
    const published = this.#sequence - before;
    const result = await generator.endMeasuring(published);
    await Promise.all(publishings.map((publishing) => publishing.end()));
    return { result, published, publishSeconds, answers };
  }

  /** Whoever waits for an answer has orders of their own: events of one order never overtake each other. */
  #roomsOf(publisher: number, publishers: number): Iterator<string, never> {
    const rooms = this.options.clients
      .filter((_, index) => index % publishers === publisher)
      .map(({ room }) => room);
    return inTurn(rooms);
  }

  #events(rooms: Iterator<string, never>, count: number, sentAtUs: number): BackendEvent[] {
    return Array.from({ length: count }, () => {
      this.#sequence += 1;
      return { room: rooms.next().value, sentAtUs, sequence: this.#sequence };
    });
  }
}

function* inTurn(rooms: readonly string[]): Generator<string, never> {
  for (;;) yield* rooms;
}
