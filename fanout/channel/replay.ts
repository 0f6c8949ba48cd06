/**
 * What a socket missed in a channel: reads from history what came after a position, up to where the
 * channel stands when the reading is done, so that the socket can join right behind it.
 */
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { isBeforeHistory, isRotated, type Broker, type HistoryEvent, type StreamPosition } from "./broker.js";
import { isSameEvent } from "./catch-up.js";
import { framedBytes } from "./event-frames.js";
import type { FollowedChannel } from "./followed-channel.js";

export interface Replay {
  /** In order, without repeat; without gap where it is complete, but for what is over. */
  readonly events: readonly HistoryEvent[];
  /** The first of the events, or else of the live ones, is the next behind it. */
  readonly from: StreamPosition | undefined;
  /** From here on the socket gets the live events. */
  readonly upTo: StreamPosition | undefined;
  /** False: events behind `after` are lost, or nobody said what they had; state must be loaded anew. */
  readonly isComplete: boolean;
  /** What it took of the budget, for who cannot use it after all to give back. */
  readonly bytes: number;
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
  /** The budget counts the events as this socket gets them. Default: protobuf. */
  readonly framing?: Framing;
  /** What is stored and not given any more. Default: nothing. */
  readonly isOver?: (payload: Uint8Array) => boolean;
}

const PAGE = 100;
/** What one socket is given at once: more would fill its queue, and the state is loaded faster than replayed. */
export const MAX_REPLAY_BYTES = 512 * 1024;

/** What replays to one socket may read, all together. */
export class ReplayBudget {
  #leftBytes = MAX_REPLAY_BYTES;

  get leftBytes(): number {
    return this.#leftBytes;
  }

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
  const { broker, followed, after, whenCaughtUp, isOver } = options;
  const { budget = new ReplayBudget(), framing = Framing.FRAMING_PROTOBUF } = options;
  const now = followed.position;
  if (now === undefined || after === undefined) {
    const position = after ?? now;
    whenCaughtUp({
      events: [],
      from: position,
      upTo: position,
      isComplete: after !== undefined,
      bytes: 0,
    });
    return;
  }
  // Who had nothing yet has what came from the first event on; but not what was lost before a rotated epoch.
  const from = isBeforeHistory(after) && !isRotated(now.epoch) ? { ...after, epoch: now.epoch } : after;
  const isKnown =
    from.epoch === now.epoch && (from.offset <= now.offset || (await isStored(broker, followed, from)));
  const caughtUp = (read: Read | undefined): void => {
    const { position } = followed;
    if (read === undefined) {
      whenCaughtUp({ events: [], from: position, upTo: position, isComplete: false, bytes: 0 });
      return;
    }
    const { events, bytes } = read;
    const isComplete = events.every(({ position: { offset } }, index) => offset === from.offset + 1 + index);
    const live = isOver === undefined ? events : events.filter(({ payload }) => !isOver(payload));
    whenCaughtUp({ events: live, from, upTo: events.at(-1)?.position ?? from, isComplete, bytes });
  };
  if (isKnown) await readMissed({ broker, followed, from, budget, framing, caughtUp });
  else caughtUp(undefined);
}

interface Read {
  readonly events: readonly HistoryEvent[];
  readonly bytes: number;
}

/** A position ahead of this fanout: the store may be ahead too, or have lost what the socket was given. */
async function isStored(broker: Broker, followed: FollowedChannel, from: StreamPosition): Promise<boolean> {
  const { position } = await broker.state(followed.channel);
  if (position.epoch !== from.epoch || isFork(from, position)) return false;
  return from.offset <= position.offset;
}

/**
 * Reads the events behind `from` up to where the channel stands, and hands them over in the turn in which that
 * is reached; undefined where they cannot be given: `from` is another event than the stored one (a fork), the
 * history is gone or was replaced by another epoch's, or there is too much of it.
 */
async function readMissed(options: {
  broker: Broker;
  followed: FollowedChannel;
  from: StreamPosition;
  budget: ReplayBudget;
  framing: Framing;
  caughtUp: (read: Read | undefined) => void;
}): Promise<void> {
  const { broker, followed, from, budget, framing, caughtUp } = options;
  const events: HistoryEvent[] = [];
  let bytes = 0;
  let isGone = isFork(from, followed.position);
  // One event earlier, to compare its tag with the one that the socket has.
  let reached = from.tag === 0 ? from.offset : Math.max(0, from.offset - 1);
  // The channel moves on while history is read: go on until the reading has caught up with it.
  while (!isGone && Math.max(reached, from.offset) < (followed.position?.offset ?? 0)) {
    const maxBytes = budget.leftBytes;
    if (maxBytes === 0) {
      isGone = true;
      break;
    }
    const page = await broker.history(followed.channel, { afterOffset: reached, limit: PAGE, maxBytes });
    const missed = page.filter(({ position }) => position.offset > from.offset);
    events.push(...missed);
    const pageBytes = missed.reduce((sum, event) => sum + framedBytes(event, framing), 0);
    const isTooMuch = !budget.take(pageBytes);
    if (!isTooMuch) bytes += pageBytes;
    reached = page.at(-1)?.position.offset ?? reached;
    isGone =
      page[0]?.position.epoch !== from.epoch ||
      page.some(({ position }) => isFork(from, position)) ||
      isTooMuch;
  }
  // Meanwhile the channel may have gone on in another epoch, whose offsets say nothing of this one.
  if (followed.position?.epoch !== from.epoch) isGone = true;
  if (isGone) budget.giveBack(bytes);
  caughtUp(isGone ? undefined : { events, bytes });
}

/** Whether two positions of one offset are of different events. */
function isFork(from: StreamPosition, stored: StreamPosition | undefined): boolean {
  return stored?.epoch === from.epoch && stored.offset === from.offset && !isSameEvent(from, stored);
}
