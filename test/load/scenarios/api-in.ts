/**
 * Durable publishes from a backend through gRPC: one by one (a call for each, so many at once), and streamed,
 * which in an API without a streaming call is large batches one after the other. Nobody follows; what is
 * measured is taking them in. Gateway alone.
 */
import type { BackendEvent } from "#test/load/contestant.js";
import { asGateway } from "#test/load/contestants/gateway.js";
import { costFigures, withCost } from "#test/load/cost.js";
import { ROSTER } from "#test/load/roster.js";
import type { Entrant, Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { monotonicUs } from "#test/load/send-time.js";

interface WayIn {
  readonly point: string;
  readonly itemsACall: number;
  /** Of each fanout. */
  readonly callsAtOnce: number;
}

const ONE_BY_ONE: WayIn = { point: "one by one", itemsACall: 1, callsAtOnce: 32 };
const IN_BATCHES: WayIn = { point: "in batches", itemsACall: 100, callsAtOnce: 4 };
const WAYS = [ONE_BY_ONE, IN_BATCHES];

/** Each call's items are of one order; neighbours go to others. */
const ORDERS = 1000;

const sizeOf = ({ isQuick }: ScenarioSize) =>
  isQuick ? { seconds: 4, warmUpSeconds: 1 } : { seconds: 10, warmUpSeconds: 3 };

export const apiIn: Scenario = {
  name: "api-in",
  description: "durable publishes through gRPC, one by one and in batches, to two fanouts and to one",
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
      for (const way of WAYS) yield await measure(turn, { way, fanouts, size, point: pointOf(way) });
    },
  };
}

async function measure(
  turn: Turn,
  options: {
    readonly way: WayIn;
    readonly fanouts: number;
    readonly size: ScenarioSize;
    readonly point: string;
  },
): Promise<Measurement> {
  const { way, fanouts, size, point } = options;
  const { seconds, warmUpSeconds } = sizeOf(size);
  turn.progress(`${point} for ${warmUpSeconds} + ${seconds} s`);
  await publishFor(turn, { way, fanouts, seconds: warmUpSeconds, keys: `${point} warm-up` });
  const { value: published, cost } = await withCost(turn, () =>
    publishFor(turn, { way, fanouts, seconds, keys: point }),
  );
  const figures = {
    publishesPerSecond: published / cost.seconds,
    cpuPerPublishUs: (cost.cpuSeconds * 1e6) / published,
    ...costFigures(cost),
  };
  return { point, outcome: { kind: "measured", figures, cpuSecondsByRole: cost.cpuSecondsByRole } };
}

/** How many were taken. Rejects with the first that was not. */
async function publishFor(
  { contestant }: Turn,
  options: { readonly way: WayIn; readonly fanouts: number; readonly seconds: number; readonly keys: string },
): Promise<number> {
  const { way, fanouts, seconds, keys } = options;
  const { backend } = asGateway(contestant);
  const endMs = performance.now() + seconds * 1000;
  // Orders of its own, so that idempotency keys, which count within an order, are never met twice.
  const prefix = keys.replaceAll(/[^a-z0-9]/gi, "-");
  let calls = 0;
  const caller = async (fanout: number): Promise<void> => {
    while (performance.now() < endMs) {
      const call = calls++;
      const events = Array.from({ length: way.itemsACall }, (_, item): BackendEvent => ({
        room: `${prefix}-${call % ORDERS}`,
        sentAtUs: monotonicUs(),
        sequence: call * way.itemsACall + item + 1,
      }));
      await backend.publishStatuses(events, { fanout });
    }
  };
  await Promise.all(Array.from({ length: way.callsAtOnce * fanouts }, (_, index) => caller(index % fanouts)));
  return calls * way.itemsACall;
}
