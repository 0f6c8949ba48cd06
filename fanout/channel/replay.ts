/**
 * What a socket missed in a channel: reads from history what came after a position, up to where the
 * channel stands when the reading is done, so that the socket can join right behind it.
 */
import type { Broker, HistoryEvent, StreamPosition } from "./broker.js";
import type { FollowedChannel } from "./followed-channel.js";

export interface Replay {
  /** In order, without repeat; without gap where it is complete. */
  readonly events: readonly HistoryEvent[];
  /** The first of the events, or else of the live ones, is the next behind it. */
  readonly from: StreamPosition | undefined;
  /** From here on the socket gets the live events. */
  readonly upTo: StreamPosition | undefined;
  /** False: events behind `after` are lost, or nobody said what they had; state must be loaded anew. */
  readonly isComplete: boolean;
}

export interface ReplayOptions {
  readonly broker: Broker;
  readonly followed: FollowedChannel;
  /** What the socket has. Absent: it wants nothing from before. */
  readonly after: StreamPosition | undefined;
  /**
   * Called once, in the very turn in which the reading has caught up with the channel: who joins here, and not
   * later, misses nothing.
   */
  readonly whenCaughtUp: (missed: Replay) => void;
}

const PAGE = 100;

/** @throws GatewayError unavailable while the store is away, and what `whenCaughtUp` throws. */
export async function replay({ broker, followed, after, whenCaughtUp }: ReplayOptions): Promise<void> {
  const now = followed.position;
  if (now === undefined || after === undefined) {
    whenCaughtUp({ events: [], from: after ?? now, upTo: after ?? now, isComplete: after !== undefined });
    return;
  }
  // A channel has no epoch before its first event.
  const from = after.epoch === "" && after.offset === 0 ? { ...after, epoch: now.epoch } : after;
  if (from.epoch !== now.epoch) {
    whenCaughtUp({ events: [], from: now, upTo: now, isComplete: false });
    return;
  }
  const events: HistoryEvent[] = [];
  let reached = from;
  let isComplete = true;
  // The channel moves on while history is read: go on until the reading has caught up with it.
  while (reached.offset < (followed.position?.offset ?? 0)) {
    const page = await broker.history(followed.channel, { afterOffset: reached.offset, limit: PAGE });
    const [first] = page;
    if (first === undefined || first.position.epoch !== from.epoch) {
      const { position } = followed;
      whenCaughtUp({ events: [], from: position, upTo: position, isComplete: false });
      return;
    }
    if (first.position.offset !== reached.offset + 1) isComplete = false;
    events.push(...page);
    reached = page.at(-1)?.position ?? reached;
  }
  whenCaughtUp({ events, from, upTo: reached, isComplete });
}
