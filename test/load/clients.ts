/** The clients of a scenario: so many, in rooms of one size, with a sender in each of the first rooms. */
import type { ClientPlan } from "./contestant.js";

export interface RoomsOptions {
  readonly connections: number;
  readonly roomSize: number;
  /** How many of the rooms have a sender. */
  readonly senders: number;
}

/** Clients of one room stand next to each other, so that a room spans the contestant's endpoints. */
export function clientsInRooms({ connections, roomSize, senders }: RoomsOptions): readonly ClientPlan[] {
  return Array.from({ length: connections }, (_, index) => {
    const room = Math.floor(index / roomSize);
    return { userId: `u${index}`, room: `r${room}`, isSender: index % roomSize === 0 && room < senders };
  });
}
