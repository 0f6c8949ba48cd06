/**
 * The seen-marks port: which notifications of a channel a user has seen, on whichever device. Marks are kept with the
 * user, not with the channel: those of a role or of everyone would else gather where all of them are. They only grow,
 * within one epoch of the channel; a mark in another epoch takes the place of what was said of the earlier one.
 *
 * Implementations: `seen-marks-memory.ts`, `seen-marks-redis.ts`, one contract suite for both. Every method fails with
 * GatewayError `unavailable` while the store is away. Writes are idempotent.
 */
import type { Channel } from "#fanout/channel/channel.js";
import type { Mark } from "#fanout/chat/mark.js";

/** Marks are forgotten so long after the user's last one: longer than any channel keeps a notification. */
export const SEEN_TTL_MS = 90 * 86_400_000;
/** One more channel makes room by forgetting the one that was marked longest ago. */
export const MAX_SEEN_CHANNELS = 256;

export interface SeenOwner {
  readonly app: string;
  readonly userId: string;
}

export interface SeenMark {
  readonly epoch: string;
  /** In offsets of the channel. */
  readonly mark: Mark;
}

export interface SeenRaise {
  readonly epoch: string;
  readonly offset: number;
  /** All before it too. */
  readonly upTo: boolean;
}

export interface SeenMarks {
  /** Answers the mark as it is then, and a version that grows with each call of this user's. */
  raise(
    owner: SeenOwner,
    channel: Channel,
    raise: SeenRaise,
  ): Promise<{ readonly seen: SeenMark; readonly version: number }>;
  /** In the order of the channels; undefined where nothing is seen. */
  marks(owner: SeenOwner, channels: readonly Channel[]): Promise<readonly (SeenMark | undefined)[]>;
}
