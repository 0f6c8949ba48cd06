/**
 * The same traffic over more and more connections, and over more and more processes: what a delivery costs must
 * not depend on how many others are connected. Gateway alone.
 */
import { clientsInRooms } from "#test/load/clients.js";
import type { ContestantOptions } from "#test/load/contestant.js";
import { withCost } from "#test/load/cost.js";
import { outcomeOf } from "#test/load/load-outcome.js";
import { ROSTER } from "#test/load/roster.js";
import type { Entrant, Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { bringIn, sendLocations, workersFor } from "./steps.js";

const LOCATIONS_PER_SECOND = 1000;
const ROOM_SIZE = 5;
const SENDERS = 200;
/** Room for 50,000 sockets where a process may have 20,000 descriptors. */
const EDGES_FOR_CONNECTIONS = 4;

interface GrowthPoint {
  readonly point: string;
  readonly connections: number;
  readonly options: ContestantOptions;
}

const number = (value: number): string => value.toLocaleString("en-US");

export const BY_CONNECTIONS: readonly GrowthPoint[] = [1000, 5000, 20_000, 50_000].map((connections) => ({
  point: `growth, ${number(connections)} connections`,
  connections,
  options: { edges: EDGES_FOR_CONNECTIONS, fanouts: 2 },
}));

const BY_PROCESSES: readonly GrowthPoint[] = [1, 2, 4].map((each) => ({
  point: `growth, ${each} + ${each} processes`,
  connections: 5000,
  options: { edges: each, fanouts: each },
}));

const sizeOf = ({ isQuick }: ScenarioSize) =>
  isQuick
    ? { points: BY_CONNECTIONS.slice(0, 2), seconds: 5, idleSeconds: 5, warmUpSeconds: 2 }
    : { points: [...BY_CONNECTIONS, ...BY_PROCESSES], seconds: 20, idleSeconds: 25, warmUpSeconds: 4 };

export const growth: Scenario = {
  name: "growth",
  description: "5,000 deliveries/s over 1,000 to 50,000 connections, and over 1, 2, 4 edges and fanouts",
  headline: "cpuPerDeliveryUs",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => ({
    entrants: sizeOf(size).points.map((point): Entrant => ({
      contestant: ROSTER.gatewayProtobuf,
      options: point.options,
      points: [point.point],
      workers: workersFor(point.connections),
      measure: (turn) => measure(turn, size, point),
    })),
  }),
};

/** Heartbeats grow with the connections and are no delivery: what idling costs is measured first. */
async function* measure(
  turn: Turn,
  size: ScenarioSize,
  { point, connections }: GrowthPoint,
): AsyncGenerator<Measurement> {
  const { seconds, idleSeconds, warmUpSeconds } = sizeOf(size);
  const clients = clientsInRooms({ connections, roomSize: ROOM_SIZE, senders: SENDERS });
  await bringIn(turn, clients);
  const { cost: idle } = await withCost(turn, () => turn.sleep(idleSeconds * 1000));
  turn.progress(`${LOCATIONS_PER_SECOND} locations/s for ${warmUpSeconds} + ${seconds} s`);
  const { result, cost, expectedSent } = await sendLocations(turn, {
    ...{ perSecond: LOCATIONS_PER_SECOND, seconds, warmUpSeconds },
  });
  const aboveIdleSeconds = cost.cpuSeconds - (idle.cpuSeconds / idle.seconds) * cost.seconds;
  const further = { cpuPerDeliveryAboveIdleUs: (aboveIdleSeconds * 1e6) / result.delivered };
  yield { point, outcome: outcomeOf(result, cost, { expectedSent, further }) };
}
