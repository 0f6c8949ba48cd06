/** The most that one fanout process takes in: order rooms with two edges and a single fanout. */
import { ROSTER } from "#test/load/roster.js";
import type { Scenario } from "#test/load/scenario.js";
import { measureHighestRate } from "./order-rooms-limit.js";

const POINT = "one fanout, locations in";

export const oneFanout: Scenario = {
  name: "one-fanout",
  description: "order rooms with a single fanout: the highest rate with p99 < 100 ms",
  headline: "highestLocationsPerSecond",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => ({
    entrants: [
      {
        contestant: ROSTER.gatewayProtobuf,
        options: { edges: 2, fanouts: 1 },
        points: [POINT],
        measure: (turn) => measureHighestRate(turn, { point: POINT, size }),
      },
    ],
  }),
};
