/**
 * The directory port: who takes part in which channel, and how. Permissions and the reach of a worker's
 * locations come from it. The channel's own record is the truth; the user's list is an index of it.
 *
 * Implementations: `directory-memory.ts`, `directory-redis.ts`, one contract suite for both. Every
 * method fails with GatewayError `unavailable` while the store is away. Writes are idempotent.
 */
import { GatewayError } from "#proto/errors.js";
import type { Channel } from "#fanout/channel/channel.js";

/** Theirs; working on it; belonging to it; of their restaurant. */
export type Relation = "owner" | "assigned" | "member" | "merchant";

export interface Participation {
  readonly channel: Channel;
  readonly userId: string;
  readonly relation: Relation;
  /** Milliseconds since 1970-01-01 UTC; then it is as if it had been ended. */
  readonly expiresAtMs: number;
}

const REBUILDING_RETRY_MS = 5_000;

/** Nobody knows yet whether there is a part: the store answers, but the directory is being rebuilt after a loss. */
export class PartUnknownError extends GatewayError {
  constructor() {
    const message = "who takes part is being rebuilt; try again";
    super("unavailable", message, { retryAfterMs: REBUILDING_RETRY_MS });
  }
}

/** All that is known of a channel's or of a user's parts. */
export interface DirectoryRecord {
  /** Those that live. */
  readonly parts: readonly Participation[];
  /** Whose part ended lately (of a channel: user ids), or the part in what (of a user: names of channels). */
  readonly ended: ReadonlySet<string>;
  /** False while it is being rebuilt after the store lost it: then what is neither in `parts` nor in `ended` is open. */
  readonly isComplete: boolean;
  readonly version: number;
}

export interface Directory {
  /** A user has one relation to a channel: a later grant replaces it. */
  grant(participation: Participation): Promise<void>;
  /** Also where there was none. */
  end(channel: Channel, userId: string): Promise<void>;
  /**
   * A user's part in a channel, or undefined.
   * @throws GatewayError unavailable; PartUnknownError where none is known while the directory is being rebuilt.
   */
  participation(channel: Channel, userId: string): Promise<Participation | undefined>;
  /** Everyone who takes part now. */
  participants(channel: Channel): Promise<readonly Participation[]>;
  /** Everything that a user takes part in now, what was granted last stands last. */
  participationsOf(app: string, userId: string): Promise<readonly Participation[]>;
  recordOf(channel: Channel): Promise<DirectoryRecord>;
  /** `parts` as `participationsOf` gives them. */
  recordOfUser(app: string, userId: string): Promise<DirectoryRecord>;
  /**
   * The versions of who takes part in these channels, in their order; of `user:<id>`: of what the user takes part in.
   * Another one than before means a change: its signal may have been lost.
   */
  versions(channels: readonly Channel[]): Promise<readonly number[]>;
}
