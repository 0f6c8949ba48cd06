/** All scenarios, in the order in which they run and are told. */
import type { Scenario } from "#test/load/scenario.js";
import { apiIn } from "./api-in.js";
import { bigRoom } from "./big-room.js";
import { growth } from "./growth.js";
import { hundredThousand } from "./hundred-thousand.js";
import { idle } from "./idle.js";
import { kafkaIn } from "./kafka-in.js";
import { oneFanout } from "./one-fanout.js";
import { orderRooms } from "./order-rooms.js";
import { orderRoomsLimit } from "./order-rooms-limit.js";
import { storm } from "./storm.js";

export const SCENARIOS: readonly Scenario[] = [
  orderRooms,
  orderRoomsLimit,
  bigRoom,
  idle,
  storm,
  apiIn,
  kafkaIn,
  growth,
  oneFanout,
  hundredThousand,
];

/** What `--quick` runs where nothing is named. */
export const QUICK_SCENARIOS: readonly string[] = [orderRooms.name];
