/**
 * What a socket missed in a channel: reads from history what came after a position, up to where the
 * channel stands when the reading is done, so that the socket can join right behind it.
 */
import { isBeforeHistory, isRotated, type Broker, type HistoryEvent, type StreamPosition } from "./broker.js";
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
  /** Shared with other replays to the same socket. Absent: one of its own. */
  readonly budget?: ReplayBudget;
}

const PAGE = 100;
/** What one socket is given at once: more would fill its queue, and the state is loaded faster than replayed. */
export const MAX_REPLAY_BYTES = 512 * 1024;

/** What replays to one socket may read, all together. */
export class ReplayBudget {
  #leftBytes = MAX_REPLAY_BYTES;

  /** False where there is not so much left; then nothing is taken. */
  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false;
    this.#leftBytes -= bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#leftBytes += bytes;
  }
}

/** @throws GatewayError unavailable while the store is away, and what `whenCaughtUp` throws. */
export async function replay(options: ReplayOptions): Promise<void> {
  const { broker, followed, after, whenCaughtUp } = options;
  const budget = options.budget ?? new ReplayBudget();
  const now = followed.position;
  if (now === undefined || after === undefined) {
    whenCaughtUp({ events: [], from: after ?? now, upTo: after ?? now, isComplete: after !== undefined });
    return;
  }
  // Who had nothing yet has what came from the first event on; but not what was lost before a rotated epoch.
  const from = isBeforeHistory(after) && !isRotated(now.epoch) ? { ...after, epoch: now.epoch } : after;
  const isKnown =
    from.epoch === now.epoch && (from.offset <= now.offset || (await isStored(broker, followed, from)));
  const caughtUp = (events: readonly HistoryEvent[] | undefined): void => {
    if (events === undefined) {
      const { position } = followed;
      whenCaughtUp({ events: [], from: position, upTo: position, isComplete: false });
      return;
    }
    const isComplete = (events[0]?.position.offset ?? from.offset + 1) === from.offset + 1;
    whenCaughtUp({ events, from, upTo: events.at(-1)?.position ?? from, isComplete });
  };
  if (isKnown) await readMissed({ broker, followed, from, budget, caughtUp });
  else caughtUp(undefined);
}

/** A position ahead of this fanout: the store may be ahead too, or have lost what the socket was given. */
async function isStored(broker: Broker, followed: FollowedChannel, from: StreamPosition): Promise<boolean> {
  const { position } = await broker.state(followed.channel);
  return position.epoch === from.epoch && from.offset <= position.offset;
}

/**
 * Reads the events behind `from` up to where the channel stands, and hands them over in the turn in which that
 * is reached; undefined where they cannot be given: `from` is another event than the stored one (a fork), the
 * history is gone, or there is too much of it.
 */
async function readMissed(options: {
  broker: Broker;
  followed: FollowedChannel;
  from: StreamPosition;
  budget: ReplayBudget;
  caughtUp: (events: readonly HistoryEvent[] | undefined) => void;
}): Promise<void> {
  const { broker, followed, from, budget, caughtUp } = options;
  const events: HistoryEvent[] = [];
  let takenBytes = 0;
  let isGone = isFork(from, followed.position);
  // One event earlier, to compare its tag with the one that the socket has.
  let reached = from.tag === 0 ? from.offset : Math.max(0, from.offset - 1);
  // The channel moves on while history is read: go on until the reading has caught up with it.
  while (!isGone && Math.max(reached, from.offset) < (followed.position?.offset ?? 0)) {
    const page = await broker.history(followed.channel, { afterOffset: reached, limit: PAGE });
    const missed = page.filter(({ position }) => position.offset > from.offset);
    events.push(...missed);
    const bytes = missed.reduce((sum, { payload }) => sum + payload.length, 0);
    const isTooMuch = !budget.take(bytes);
    if (!isTooMuch) takenBytes += bytes;
    reached = page.at(-1)?.position.offset ?? reached;
    isGone =
      page[0]?.position.epoch !== from.epoch ||
      page.some(({ position }) => isFork(from, position)) ||
      isTooMuch;
  }
  if (isGone) budget.giveBack(takenBytes);
  caughtUp(isGone ? undefined : events);
}

/** Whether two positions of one offset are of different events. A tag of 0 says nothing. */
function isFork(from: StreamPosition, stored: StreamPosition | undefined): boolean {
  return (
    stored !== undefined &&
    stored.epoch === from.epoch &&
    stored.offset === from.offset &&
    from.tag !== 0 &&
    stored.tag !== 0 &&
    stored.tag !== from.tag
  );
}
