/** Everybody's connection drops at once, and everybody comes back at once. */
import { clientsInRooms } from "#test/load/clients.js";
import { costFigures, withCost } from "#test/load/cost.js";
import { describeCounts } from "#test/load/generator/tally.js";
import { ROSTER } from "#test/load/roster.js";
import type { Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { alike, bringIn, workersFor } from "./steps.js";

const POINT = "storm";
const CALM_MS = 5000;
const TIMEOUT_MS = 180_000;

const connectionsOf = ({ isQuick }: ScenarioSize): number => (isQuick ? 4000 : 20_000);

export const storm: Scenario = {
  name: "storm",
  description: "20,000 clients drop and resume at once",
  headline: "returnSeconds",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => ({
    entrants: alike([ROSTER.gatewayProtobuf, ROSTER.socketIo], {
      points: [POINT],
      workers: workersFor(connectionsOf(size)),
      measure: (turn) => measure(turn, connectionsOf(size)),
    }),
  }),
};

async function* measure(turn: Turn, connections: number): AsyncGenerator<Measurement> {
  const { generator, progress, sleep } = turn;
  const clients = clientsInRooms({ connections, roomSize: 5, senders: 0 });
  await bringIn(turn, clients);
  await sleep(CALM_MS);
  progress("all drop and come back");
  const { value, cost } = await withCost(turn, () => generator.dropAndReturn({ timeoutMs: TIMEOUT_MS }));
  progress(`attempts that failed before one was let in: ${describeCounts(value.failedAttempts)}`);
  const figures = {
    returnSeconds: value.seconds,
    connectsPerSecond: connections / value.seconds,
    resumedShare: value.resumed / connections,
    cpuPerReturnUs: (cost.cpuSeconds * 1e6) / connections,
    ...costFigures(cost),
  };
  yield { point: POINT, outcome: { kind: "measured", figures, cpuSecondsByRole: cost.cpuSecondsByRole } };
}
