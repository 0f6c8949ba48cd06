/**
 * Counts changes of positions: of two changes the later one has the greater number. One count for all groups
 * of the process, because numbers are only compared; so that "changed since" costs a comparison and no memory
 * for each socket and channel.
 */
import type { Position } from "#proto/gen/realtime/client/v1/event.js";

let latest = 0;

/** The number of a change that happens now. */
export function nextChange(): number {
  latest += 1;
  return latest;
}

/** The number of the last change: what changes later has a greater one. */
export function latestChange(): number {
  return latest;
}

/** Notes that a socket stands at a position of a channel; never back within an epoch. False: it did already. */
export function advance(positions: Map<string, Position>, channel: string, position: Position): boolean {
  const known = positions.get(channel);
  if (known !== undefined && known.epoch === position.epoch && known.offset >= position.offset) return false;
  positions.set(channel, position);
  return true;
}
