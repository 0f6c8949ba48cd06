/** One channel that everybody follows, and a backend that speaks in it: all is output. */
import { clientsInRooms } from "#test/load/clients.js";
import { EVERYBODY } from "#test/load/roster.js";
import { withCost } from "#test/load/cost.js";
import type { LoadResult } from "#test/load/generator/generator.js";
import { outcomeOf } from "#test/load/load-outcome.js";
import { paced } from "#test/load/pacing.js";
import type { Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { monotonicUs } from "#test/load/send-time.js";
import { alike, bringIn } from "./steps.js";

const POINT = "big room";
const EVENTS_PER_SECOND = 20;

const sizeOf = ({ isQuick }: ScenarioSize) =>
  isQuick
    ? { connections: 1000, seconds: 5, warmUpSeconds: 2 }
    : { connections: 5000, seconds: 10, warmUpSeconds: 3 };

export const bigRoom: Scenario = {
  name: "big-room",
  description: "one channel, 5,000 connections, 20 events/s from the backend",
  headline: "cpuPerDeliveryUs",
  rounds: 7,
  isByNameOnly: false,
  entrants: async (size) => ({
    entrants: alike(EVERYBODY, { points: [POINT], measure: (turn) => measure(turn, size) }),
  }),
};

async function* measure(turn: Turn, size: ScenarioSize): AsyncGenerator<Measurement> {
  const { connections, seconds, warmUpSeconds } = sizeOf(size);
  const clients = clientsInRooms({ connections, roomSize: connections, senders: 0 });
  const room = clients[0]?.room ?? "";
  await bringIn(turn, clients);
  turn.progress(`${EVENTS_PER_SECOND} events/s for ${warmUpSeconds} + ${seconds} s`);
  await publish(turn, { room, connections, seconds: warmUpSeconds, sequenceBefore: 0 });
  const sequenceBefore = EVENTS_PER_SECOND * warmUpSeconds;
  const { value, cost } = await withCost(turn, () =>
    publish(turn, { room, connections, seconds, sequenceBefore }),
  );
  yield { point: POINT, outcome: outcomeOf(value, cost) };
}

async function publish(
  { contestant, generator, sleep }: Turn,
  options: {
    readonly room: string;
    readonly connections: number;
    readonly seconds: number;
    readonly sequenceBefore: number;
  },
): Promise<LoadResult> {
  const { room, connections, seconds, sequenceBefore } = options;
  await generator.beginMeasuring();
  const events = await paced({ perSecond: EVENTS_PER_SECOND, seconds, sleep }, (sequence) =>
    contestant.publish({ room, sentAtUs: monotonicUs(), sequence: sequenceBefore + sequence }),
  );
  return generator.endMeasuring(events * connections);
}
