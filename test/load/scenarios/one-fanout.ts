/**
 * The most that one fanout process takes in: two edges and a single fanout, once with the sender as the only
 * follower of each order, so that a location is little more than taken in, and once with the rooms that orders have.
 */
import { clientsInRooms } from "#test/load/clients.js";
import { ROSTER } from "#test/load/roster.js";
import type { Scenario } from "#test/load/scenario.js";
import { ORDER_ROOMS } from "./order-rooms.js";
import { measureHighestRate } from "./order-rooms-limit.js";

const POINTS = [
  { point: "one fanout, locations in", rooms: { connections: 1000, roomSize: 1, senders: 1000 } },
  { point: "one fanout, order rooms", rooms: ORDER_ROOMS },
];

export const oneFanout: Scenario = {
  name: "one-fanout",
  description: "a single fanout, one follower each and order rooms: the highest rates with p99 < 100 ms",
  headline: "highestLocationsPerSecond",
  rounds: 3,
  isByNameOnly: false,
  entrants: async (size) => ({
    entrants: POINTS.map(({ point, rooms }) => ({
      contestant: ROSTER.gatewayProtobuf,
      options: { edges: 2, fanouts: 1 },
      points: [point],
      measure: (turn) => measureHighestRate(turn, { point, size, clients: clientsInRooms(rooms) }),
    })),
  }),
};
