/** Rooms as an order has them: five apps, one of which sends where it is. At two rates, in one turn. */
import { clientsInRooms } from "#test/load/clients.js";
import { EVERYBODY, ROSTER } from "#test/load/roster.js";
import { outcomeOf } from "#test/load/load-outcome.js";
import type { Measurement, Scenario, ScenarioSize, Turn } from "#test/load/scenario.js";
import { alike, bringIn, sendLocations } from "./steps.js";

export const ORDER_ROOMS = { connections: 1000, roomSize: 5, senders: 200 } as const;

const pointOf = (perSecond: number): string => `order rooms, ${perSecond.toLocaleString("en-US")}/s`;

const sizeOf = ({ isQuick }: ScenarioSize) =>
  isQuick
    ? { rates: [2000], seconds: 6, warmUpSeconds: 3 }
    : { rates: [2000, 8000], seconds: 15, warmUpSeconds: 4 };

export const orderRooms: Scenario = {
  name: "order-rooms",
  description: "1,000 connections in rooms of 5, 200 senders, 2,000 and 8,000 locations/s",
  headline: "cpuPerDeliveryUs",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => {
    const { rates } = sizeOf(size);
    const contestants = size.isQuick ? [ROSTER.gatewayProtobuf, ROSTER.socketIo, ROSTER.bareWs] : EVERYBODY;
    return {
      entrants: alike(contestants, {
        points: rates.map(pointOf),
        measure: (turn) => measure(turn, size),
      }),
    };
  },
};

async function* measure(turn: Turn, size: ScenarioSize): AsyncGenerator<Measurement> {
  const { rates, seconds, warmUpSeconds } = sizeOf(size);
  await bringIn(turn, clientsInRooms(ORDER_ROOMS));
  for (const perSecond of rates) {
    turn.progress(`${perSecond} locations/s for ${warmUpSeconds} + ${seconds} s`);
    const { result, cost, expectedSent } = await sendLocations(turn, { perSecond, seconds, warmUpSeconds });
    yield { point: pointOf(perSecond), outcome: outcomeOf(result, cost, { expectedSent }) };
  }
}
