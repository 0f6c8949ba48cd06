/** What the presence store's implementations share: bounds that no configuration changes, and options with defaults. */

/** Connections of one user that are counted; further ones are online without being counted. */
export const MAX_CONNECTIONS = 256;
/** Members of one channel; who comes beyond is in it without being listed. */
export const MAX_MEMBERS = 100_000;
/** Memberships of one user in one channel, by their connections. */
export const MAX_MEMBERSHIPS = 32;
/** Subjects of one partition that are given at a time. */
export const DUE_PER_PARTITION = 50;
export const HELD_PER_PARTITION = 100;

const DAY_MS = 24 * 3_600_000;

export interface PresenceStoreOptions {
  /** How long is known when somebody was last seen. Longer than the interval at which live records are written again. */
  readonly lastSeenTtlMs: number;
  /** Joined and left are told in channels of up to so many members. */
  readonly maxToldMembers: number;
  /** So long after it was given, an announcement that is not confirmed is given again. */
  readonly announceWithinMs: number;
}

export const DEFAULT_PRESENCE_STORE: PresenceStoreOptions = {
  lastSeenTtlMs: 30 * DAY_MS,
  maxToldMembers: 200,
  announceWithinMs: 5_000,
};
