/** Where each client of a scenario sits: its worker, its address, its endpoint, its number in its room. */
import type { ClientPlan } from "../contestant.js";
import type { Seat } from "./dialect.js";

/** Loopback addresses 127.0.1.1 and up: so many that no limit of one address is met. */
const ADDRESSES_PER_NET = 250;
const NETS = 8;

export interface SeatingOptions {
  readonly workers: number;
  readonly endpoints: number;
  readonly credentials: readonly string[];
}

/** The seats of each worker. Clients of one endpoint are spread over all workers. */
export function seating(
  clients: readonly ClientPlan[],
  { workers, endpoints, credentials }: SeatingOptions,
): readonly (readonly Seat[])[] {
  const rooms = new Map<string, { size: number; senders: number }>();
  const numbers = clients.map(({ room, isSender }) => {
    const known = rooms.get(room) ?? { size: 0, senders: 0 };
    rooms.set(room, known);
    known.size += 1;
    if (isSender) known.senders += 1;
    return isSender ? known.senders : 0;
  });
  const seats: Seat[][] = Array.from({ length: workers }, () => []);
  for (const [index, { userId, room }] of clients.entries()) {
    const { size = 0, senders = 0 } = rooms.get(room) ?? {};
    seats[Math.floor(index / endpoints) % workers]?.push({
      ...{ userId, room, senders, roomSize: size, sender: numbers[index] ?? 0 },
      credentials: credentials[index] ?? "",
      localAddress: localAddress(index),
      endpoint: index % endpoints,
    });
  }
  return seats;
}

function localAddress(index: number): string {
  const address = index % (ADDRESSES_PER_NET * NETS);
  return `127.0.${1 + Math.floor(address / ADDRESSES_PER_NET)}.${1 + (address % ADDRESSES_PER_NET)}`;
}
