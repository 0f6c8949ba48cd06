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
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const standard: ChannelKind = {
  historySize: 200,
  historyTtlMs: HOUR_MS,
  latestTtlMs: HOUR_MS,
  participationTtlMs: 7 * DAY_MS,
};

const conversation: ChannelKind = {
  ...standard,
  historySize: 500,
  historyTtlMs: 7 * DAY_MS,
  participationTtlMs: 365 * DAY_MS,
};

export const CHANNEL_KINDS: ReadonlyMap<string, ChannelKind> = new Map<string, ChannelKind>([
  ["order", standard],
  ["ride", standard],
  ["booking", standard],
  ["user", { ...standard, historySize: 100, historyTtlMs: DAY_MS }],
  ["notification", standard],
  ["conversation", conversation],
  ["group", conversation],
]);
