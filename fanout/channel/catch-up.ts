/**
 * Catching up with a channel's stored history: compares where a follower stands with what is stored, reads what
 * it missed, and says what can never be read. Where the store lacks events that were delivered (a fork: it failed
 * over behind, or was restored), the channel begins a new epoch, so that no two events share a position.
 * When to catch up, and that it runs once at a time, is left to the caller.
 */
import type { FanoutCounters } from "../fanout-counters.js";
import { isBeforeHistory, isRotated, type Broker, type HistoryEvent, type StreamPosition } from "./broker.js";
import type { LatestValue } from "./broker.js";
import type { Channel } from "./channel.js";

/**
 * `same`: nothing is missing. `behind`: there is more. `forked`: the store lacks what was delivered. `replaced`: by
 * the history of another epoch. `gone`: there is no history any more.
 */
export type Standing = "same" | "behind" | "forked" | "replaced" | "gone";

/** The follower that catches up. Its position does not move by itself meanwhile. */
export interface CatchingUp {
  readonly position: StreamPosition;
  hearLatest(value: LatestValue): void;
  /** The next event. */
  advance(event: HistoryEvent): void;
  /** What came up to `position` and was not delivered is lost: goes on from there, and says so. */
  jump(position: StreamPosition): void;
  /** Everything was delivered and its history has ended: stands before the next one, without a word. */
  outlive(): void;
}

export interface CatchUpOptions {
  readonly broker: Broker;
  readonly channel: Channel;
  readonly counters: FanoutCounters;
  readonly follower: CatchingUp;
  /** The position is what this process delivered or read, not what a client says it was given. */
  readonly isWitnessed: boolean;
  /**
   * What a history that is gone means: messages may have been lost with it; or it was just outlived; or nobody knows
   * yet, and the next comparison will.
   */
  readonly whenGone: "lost" | "outlived" | "wait";
}

const HISTORY_PAGE = 100;
/** Many times the largest event: a page always holds more than the one that is known. */
const HISTORY_PAGE_BYTES = 1024 * 1024;
/** The store goes on while it is compared with; so many times it is read again before a loss is said. */
const MAX_ROUNDS = 8;

/** Pure: where somebody at `mine` stands in a history whose last event is at `stored`. */
export function standingOf(mine: StreamPosition, stored: StreamPosition): Standing {
  if (isBeforeHistory(stored)) return isBeforeHistory(mine) ? "same" : "gone";
  if (isBeforeHistory(mine)) return isRotated(stored.epoch) ? "replaced" : "behind";
  if (mine.epoch !== stored.epoch) return "replaced";
  if (stored.offset < mine.offset) return "forked";
  if (stored.offset > mine.offset) return "behind";
  return isSameEvent(mine, stored) ? "same" : "forked";
}

/** A tag of 0 says nothing. */
export function isSameEvent(left: { readonly tag: number }, right: { readonly tag: number }): boolean {
  return left.tag === right.tag || left.tag === 0 || right.tag === 0;
}

/** Resolves when nothing newer is stored than was delivered. @throws GatewayError unavailable. */
export async function catchUp(options: CatchUpOptions): Promise<void> {
  for (let round = 1; ; round += 1) {
    const { position, latest } = await options.broker.state(options.channel);
    for (const value of latest) options.follower.hearLatest(value);
    if (round > MAX_ROUNDS) {
      options.follower.jump(position);
      return;
    }
    if ((await compare(options, position)) === "done") return;
  }
}

async function compare(options: CatchUpOptions, stored: StreamPosition): Promise<"done" | "again"> {
  const { follower, whenGone } = options;
  switch (standingOf(follower.position, stored)) {
    case "same":
      return "done";
    case "gone":
      if (whenGone === "lost") follower.jump(stored);
      else if (whenGone === "outlived") follower.outlive();
      return "done";
    case "forked":
      return rotate(options, stored);
    case "replaced":
      return readFrom({ ...stored, offset: 0, tag: 0 }, { ...options, stored, isLoss: true });
    case "behind":
      return readFrom({ ...follower.position, epoch: stored.epoch }, { ...options, stored, isLoss: false });
  }
}

/** The stored position has moved on where this does not rotate: then it is compared again. */
async function rotate(options: CatchUpOptions, stored: StreamPosition): Promise<"done" | "again"> {
  const { broker, channel, counters, follower, isWitnessed } = options;
  if (!isWitnessed) {
    follower.jump(stored);
    return "done";
  }
  const { epoch } = await broker.rotate(channel, stored);
  if (epoch !== stored.epoch && epoch !== "") {
    counters.epochsRotated += 1;
    follower.jump({ epoch, offset: 0, tag: 0 });
  }
  return "again";
}

async function readFrom(
  from: StreamPosition,
  options: CatchUpOptions & { readonly stored: StreamPosition; readonly isLoss: boolean },
): Promise<"done" | "again"> {
  const { broker, channel, counters, follower, stored } = options;
  let { isLoss } = options;
  if (stored.offset === 0) {
    follower.jump(stored);
    return "done";
  }
  for (let reached = from; reached.offset < stored.offset;) {
    // One event earlier: that it is the one that was delivered shows that this is the same history.
    const afterOffset = Math.max(0, reached.tag === 0 ? reached.offset : reached.offset - 1);
    const page = await broker.history(channel, {
      afterOffset,
      limit: HISTORY_PAGE,
      maxBytes: HISTORY_PAGE_BYTES,
    });
    const events = page.filter(({ position }) => position.offset > reached.offset);
    const [first] = events;
    const known = page.find(({ position }) => position.offset === reached.offset);
    if (first !== undefined && first.position.epoch !== reached.epoch) return "again";
    if (known !== undefined && !isSameEvent(known.position, reached)) return rotate(options, stored);
    if (first === undefined) return whenEmpty(options, stored);
    if (isLoss || first.position.offset > reached.offset + 1) {
      follower.jump({ ...first.position, offset: first.position.offset - 1, tag: 0 });
      isLoss = false;
    }
    for (const event of events) {
      follower.advance(event);
      counters.gapsFilled += 1;
      reached = event.position;
    }
  }
  return "done";
}

/** The events are gone though their position stands; or another epoch has begun since it was read. */
async function whenEmpty(options: CatchUpOptions, stored: StreamPosition): Promise<"done" | "again"> {
  const { position } = await options.broker.state(options.channel);
  if (position.epoch !== stored.epoch) return "again";
  options.follower.jump(stored);
  return "done";
}
