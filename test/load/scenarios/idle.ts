/** Connections that are in their rooms and say nothing: what a socket costs while it waits. */
import { clientsInRooms } from "#test/load/clients.js";
import { describeCounts } from "#test/load/generator/tally.js";
import { ROSTER } from "#test/load/roster.js";
import { costFigures, memoryFigures, memoryOf, withCost } from "#test/load/cost.js";
import type { Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { alike, bringIn } from "./steps.js";

const POINT = "idle";

/** What one process can hold that may have 20,000 descriptors, where a contestant is one process. */
const MOST_OF_ONE_PROCESS = 19_000;

/** Long enough for every socket's heartbeat (25 s). */
const sizeOf = ({ isQuick }: ScenarioSize) =>
  isQuick
    ? { connections: 4000, seconds: 10, settleMs: 2000 }
    : { connections: 20_000, seconds: 60, settleMs: 5000 };

export const idle: Scenario = {
  name: "idle",
  description: "20,000 connections with heartbeats (bare ws 19,000): memory per connection and CPU",
  headline: "memoryPerConnectionBytes",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => ({
    entrants: alike([ROSTER.gatewayProtobuf, ROSTER.socketIo, ROSTER.bareWs], {
      points: [POINT],
      measure: (turn) => measure(turn, size),
    }),
  }),
};

async function* measure(turn: Turn, size: ScenarioSize): AsyncGenerator<Measurement> {
  const { seconds, settleMs, ...wanted } = sizeOf(size);
  const { contestant, generator, progress, sleep } = turn;
  const most = contestant.endpoints.length === 1 ? MOST_OF_ONE_PROCESS : Infinity;
  const connections = Math.min(wanted.connections, most);
  // What starting left behind is collected, or has become part of what the processes need.
  await sleep(settleMs);
  const before = memoryOf(contestant);
  const clients = clientsInRooms({ connections, roomSize: 5, senders: 0 });
  await bringIn(turn, clients);
  await sleep(settleMs);
  progress(`idle for ${seconds} s`);
  await generator.beginMeasuring();
  const { cost } = await withCost(turn, () => sleep(seconds * 1000));
  const after = memoryOf(contestant);
  const { closed, problems } = await generator.endMeasuring(0);
  if (closed > 0 || Object.keys(problems).length > 0) {
    const reason = `${closed} sockets closed: ${describeCounts(problems)}`;
    yield { point: POINT, outcome: { kind: "failed", reason } };
    return;
  }
  const figures = {
    ...memoryFigures(before, after, connections),
    ...costFigures(cost),
  };
  yield { point: POINT, outcome: { kind: "measured", figures, cpuSecondsByRole: cost.cpuSecondsByRole } };
}
