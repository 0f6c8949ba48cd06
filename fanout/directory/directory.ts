/**
 * The directory port: who takes part in which channel, and how. Permissions and the reach of a worker's
 * locations come from it. The channel's own record is the truth; the user's list is an index of it.
 *
 * Implementations: `directory-memory.ts`, `directory-redis.ts`, one contract suite for both. Every
 * method fails with GatewayError `unavailable` while the store is away. Writes are idempotent.
 */
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

export interface Directory {
  /** A user has one relation to a channel: a later grant replaces it. */
  grant(participation: Participation): Promise<void>;
  /** Also where there was none. */
  end(channel: Channel, userId: string): Promise<void>;
  /** A user's part in a channel, or undefined. */
  participation(channel: Channel, userId: string): Promise<Participation | undefined>;
  /** Everyone who takes part now. */
  participants(channel: Channel): Promise<readonly Participation[]>;
  /** Everything that a user takes part in now. */
  participationsOf(app: string, userId: string): Promise<readonly Participation[]>;
}
