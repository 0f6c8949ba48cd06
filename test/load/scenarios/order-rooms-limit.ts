/** Order rooms as fast as the 99th percentile of the latency stays below 100 ms. */
import { clientsInRooms } from "#test/load/clients.js";
import type { ClientPlan } from "#test/load/contestant.js";
import { EVERYBODY } from "#test/load/roster.js";
import type { LoadResult } from "#test/load/generator/generator.js";
import { outcomeOf } from "#test/load/load-outcome.js";
import { highestRate, type RateTrial } from "#test/load/rate-search.js";
import type { Measurement, Outcome, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { ORDER_ROOMS } from "./order-rooms.js";
import { alike, bringIn, sendLocations } from "./steps.js";

const POINT = "order rooms, highest rate";
const MOST_P99_MS = 100;
const STEP_SECONDS = 3;
/** After a rate that did not hold, for what is still queued. */
const CALM_MS = 3000;

const searchOf = ({ isQuick }: ScenarioSize) =>
  isQuick
    ? { first: 4000, factor: 1.6, lowest: 500, highest: 40_000 }
    : { first: 4000, factor: 1.3, lowest: 500, highest: 60_000 };

type Measured = Extract<Outcome, { kind: "measured" }>;

export const orderRoomsLimit: Scenario = {
  name: "order-rooms-limit",
  description: `order rooms: the highest rate with p99 < ${MOST_P99_MS} ms`,
  headline: "highestLocationsPerSecond",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => ({
    entrants: alike(EVERYBODY, {
      points: [POINT],
      measure: (turn) =>
        measureHighestRate(turn, { point: POINT, size, clients: clientsInRooms(ORDER_ROOMS) }),
    }),
  }),
};

export interface HighestRateOptions {
  readonly point: string;
  readonly size: ScenarioSize;
  readonly clients: readonly ClientPlan[];
}

export async function* measureHighestRate(
  turn: Turn,
  { point, size, clients }: HighestRateOptions,
): AsyncGenerator<Measurement> {
  await bringIn(turn, clients);
  await sendLocations(turn, { perSecond: 2000, seconds: STEP_SECONDS, warmUpSeconds: 0 });
  const { best, limit } = await highestRate(searchOf(size), (perSecond) => attempt(turn, perSecond));
  if (best === undefined) {
    const reason = `${searchOf(size).lowest} locations/s do not hold: ${limit ?? "no reason"}`;
    yield { point, outcome: { kind: "failed", reason } };
    return;
  }
  const figures = { ...best.evidence.figures, highestLocationsPerSecond: best.rate };
  yield { point, outcome: { ...best.evidence, figures } };
}

/** What is too much for a contestant may lose locations: then the rate does not hold, and the search ends. */
async function attempt(turn: Turn, perSecond: number): Promise<RateTrial<Measured>> {
  const { result, cost, expectedSent } = await sendLocations(turn, {
    ...{ perSecond, seconds: STEP_SECONDS, warmUpSeconds: 0 },
  });
  const outcome = outcomeOf(result, cost, { expectedSent });
  const reason = outcome.kind === "failed" ? outcome.reason : tooLate(result);
  turn.progress(`${perSecond} locations/s: ${reason ?? `p99 ${result.latencyMs.p99.toFixed(1)} ms`}`);
  if (outcome.kind === "measured" && reason === undefined) return { holds: true, evidence: outcome };
  await turn.sleep(CALM_MS);
  return { holds: false, reason: reason ?? "it failed" };
}

/** A generator that is late counts as well: what it has not sent yet has no latency, and waits all the same. */
function tooLate({ latencyMs: { p99 }, maxLateMs }: LoadResult): string | undefined {
  if (p99 >= MOST_P99_MS) return `p99 ${p99.toFixed(0)} ms`;
  return maxLateMs >= MOST_P99_MS ? `the generator was ${maxLateMs.toFixed(0)} ms late` : undefined;
}
