/**
 * What a socket missed in a channel: reads from history what came after a position, up to where the
 * channel stands when the reading is done, so that the socket can join right behind it.
 */
import type { Broker, HistoryEvent, StreamPosition } from "./broker.js";
import type { FollowedChannel } from "./followed-channel.js";

export interface Replay {
  /** In order, without gap or repeat. */
  readonly events: readonly HistoryEvent[];
  /** From here on the socket gets the live events. */
  readonly upTo: StreamPosition | undefined;
  /** False: events between `after` and the first one here are lost; state must be loaded anew. */
  readonly isComplete: boolean;
}

const PAGE = 100;

/** @throws GatewayError unavailable while the store is away. */
export async function replay(
  broker: Broker,
  followed: FollowedChannel,
  from: StreamPosition,
): Promise<Replay> {
  const events: HistoryEvent[] = [];
  const now = followed.position;
  if (now === undefined) return { events, upTo: from, isComplete: true };
  // A channel has no epoch before its first event.
  const after = from.epoch === "" && from.offset === 0 ? { ...from, epoch: now.epoch } : from;
  if (after.epoch !== now.epoch) return { events, upTo: now, isComplete: false };
  let reached = after;
  let isComplete = true;
  // The channel moves on while history is read: go on until the reading has caught up with it.
  while (reached.offset < (followed.position?.offset ?? 0)) {
    const page = await broker.history(followed.channel, { afterOffset: reached.offset, limit: PAGE });
    const [first] = page;
    if (first === undefined || first.position.epoch !== after.epoch) {
      return { events: [], upTo: followed.position, isComplete: false };
    }
    if (first.position.offset !== reached.offset + 1) isComplete = false;
    events.push(...page);
    reached = page.at(-1)?.position ?? reached;
  }
  return { events, upTo: reached, isComplete };
}
