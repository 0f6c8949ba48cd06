/** What the broker's implementations share: the options of a channel's kind, and bounds that no kind changes. */
import { GatewayError } from "#proto/errors.js";
import type { Channel } from "./channel.js";
import { CHANNEL_KINDS, type ChannelKind } from "./channel-kinds.js";

/** Latest values in one channel; one more makes room by dropping an old one. */
export const MAX_LATEST_VALUES = 1_024;

/** Subjects of which a channel knows a version; one more makes room by forgetting another's. */
export const MAX_VERSIONED_SUBJECTS = 4_096;

/** Events of one partition that may wait for Kafka; more that must reach it are refused. */
export const DEFAULT_OUTBOX_BOUND = 10_000;

/** @throws GatewayError not_found where there is no such kind. */
export function kindOptions(
  channel: Channel,
  kinds: ReadonlyMap<string, ChannelKind> = CHANNEL_KINDS,
): ChannelKind {
  const kind = kinds.get(channel.kind);
  if (!kind) throw new GatewayError("not_found", "there is no such kind of channel", { field: "channel" });
  return kind;
}

/** What a publisher hears where another event excludes its own. */
export function excluded(): GatewayError {
  return new GatewayError("conflict", "an event that excludes this one was published before");
}

/** What a publisher hears at the outbox's bound. Events that need not reach Kafka are not concerned. */
export function outboxFull(): GatewayError {
  return new GatewayError("unavailable", "too many events wait for Kafka; try again", {
    retryAfterMs: 5_000,
  });
}
