/**
 * The kinds of channels and their options, readable at a glance. A kind that is not listed does not
 * exist: subscribing to it is `not_found`.
 */
export interface ChannelKind {
  /** How many durable events are kept. */
  readonly historySize: number;
  /** How long they are kept after the last one; also how long repeats are recognised. */
  readonly historyTtlMs: number;
  /** How long a latest value is kept for new subscribers. */
  readonly latestTtlMs: number;
  /** How long somebody takes part where nobody says. */
  readonly participationTtlMs: number;
  /** Who follows it: not kept; listed (pages and a count); or told too (joined, left), while they are not too many. */
  readonly members: "unknown" | "listed" | "told";
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const standard: ChannelKind = {
  historySize: 200,
  historyTtlMs: HOUR_MS,
  latestTtlMs: HOUR_MS,
  participationTtlMs: 7 * DAY_MS,
  members: "listed",
};

const conversation: ChannelKind = {
  ...standard,
  historySize: 500,
  historyTtlMs: 7 * DAY_MS,
  // How far others have read is known for as long as what they have read.
  latestTtlMs: 7 * DAY_MS,
  participationTtlMs: 365 * DAY_MS,
  members: "told",
};

/** As long as a user's own channel: who comes back within a day is told. */
const broadcast: ChannelKind = {
  ...standard,
  historySize: 100,
  historyTtlMs: DAY_MS,
  latestTtlMs: DAY_MS,
  members: "unknown",
};

export const CHANNEL_KINDS: ReadonlyMap<string, ChannelKind> = new Map<string, ChannelKind>([
  ["order", standard],
  ["ride", standard],
  ["booking", standard],
  ["user", { ...standard, historySize: 100, historyTtlMs: DAY_MS, latestTtlMs: DAY_MS, members: "unknown" }],
  ["notification", { ...standard, members: "unknown" }],
  ["conversation", conversation],
  ["group", conversation],
  // All whose token says this role, and all who have an account: sessions follow theirs from the start.
  ["role", broadcast],
  ["everyone", broadcast],
  // Whether the user of that id is online, for those who may see it.
  ["presence", { ...standard, members: "unknown" }],
  // For everybody in the app, also for sessions without an account; services and admins publish.
  ["public", { ...standard, members: "unknown" }],
]);

/** The same, where a user's own channel keeps for so long what the user has missed. */
export function withUserTtl(userTtlMs: number): ReadonlyMap<string, ChannelKind> {
  return new Map(
    Array.from(CHANNEL_KINDS, ([name, kind]) => [
      name,
      name === "user" ? { ...kind, historyTtlMs: userTtlMs, latestTtlMs: userTtlMs } : kind,
    ]),
  );
}
