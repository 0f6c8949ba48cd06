/** A hundred thousand sockets on one machine, over several edges, with traffic for ten minutes. Gateway alone. */
import { clientsInRooms } from "#test/load/clients.js";
import { memoryFigures, memoryOf } from "#test/load/cost.js";
import { outcomeOf } from "#test/load/load-outcome.js";
import { ROSTER } from "#test/load/roster.js";
import type { Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { bringIn, sendLocations, workersFor } from "./steps.js";

const POINT = "100,000 connections";
const ROOM_SIZE = 5;
const LOCATIONS_PER_SECOND = 5000;
/** A process may have 20,000 descriptors here, and needs some for itself. */
const EDGES = 6;

const sizeOf = ({ isQuick }: ScenarioSize) =>
  isQuick
    ? { connections: 10_000, seconds: 20, warmUpSeconds: 5 }
    : { connections: 100_000, seconds: 600, warmUpSeconds: 10 };

export const hundredThousand: Scenario = {
  name: "hundred-thousand",
  description: "100,000 connections subscribed to 20,000 orders, 5,000 locations/s for 10 minutes",
  headline: "memoryBytes",
  rounds: 1,
  isByNameOnly: true,
  entrants: async (size) => ({
    entrants: [
      {
        contestant: ROSTER.gatewayProtobuf,
        options: { edges: EDGES, fanouts: 2 },
        points: [POINT],
        workers: workersFor(sizeOf(size).connections),
        measure: (turn) => measure(turn, size),
      },
    ],
  }),
};

async function* measure(turn: Turn, size: ScenarioSize): AsyncGenerator<Measurement> {
  const { connections, seconds, warmUpSeconds } = sizeOf(size);
  const before = memoryOf(turn.contestant);
  const rooms = connections / ROOM_SIZE;
  const clients = clientsInRooms({ connections, roomSize: ROOM_SIZE, senders: rooms });
  const connected = await bringIn(turn, clients);
  turn.progress(`${LOCATIONS_PER_SECOND} locations/s for ${warmUpSeconds} + ${seconds} s`);
  const load = { perSecond: LOCATIONS_PER_SECOND, seconds, warmUpSeconds };
  const { result, cost, expectedSent } = await sendLocations(turn, load);
  const further = {
    ...memoryFigures(before, memoryOf(turn.contestant), connections),
    connectsPerSecond: connections / connected.seconds,
  };
  yield { point: POINT, outcome: outcomeOf(result, cost, { expectedSent, further }) };
}
