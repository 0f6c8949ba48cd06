/**
 * The marks port: how far each user of a channel has got its messages and has read them. Marks only grow, and are
 * kept with the channel's count of messages as long as a part in such a channel lasts, from the last message or
 * mark on. The count itself is the broker's: it numbers messages in the step that stores them.
 *
 * Implementations: `marks-memory.ts`, `marks-redis.ts`, one contract suite for both. Every method fails with
 * GatewayError `unavailable` while the store is away. Writes are idempotent.
 */
import { GatewayError } from "#proto/errors.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Mark } from "./mark.js";

/** Users of one channel whose marks are kept. */
export const MAX_MARKED_USERS = 10_000;

export type MarkKind = "delivered" | "read";

/** Where a user stands in a channel. */
export interface Standing {
  readonly channel: Channel;
  readonly userId: string;
  /** Of the last message; 0 where there is none. */
  readonly lastNumber: number;
  /** All messages up to here were delivered. */
  readonly deliveredNumber: number;
  /** All messages up to here are read, or one's own. */
  readonly readNumber: number;
  /** Messages that are not read; none of one's own. */
  readonly unread: number;
  /** How often it has changed in a way that changes `unread` or `lastNumber`: grows with each. */
  readonly version: number;
  /** The other user of a two-person conversation; empty elsewhere. */
  readonly recipientId: string;
}

export interface MarksRaised {
  readonly standing: Standing;
  /** All that the user has marked of this kind now. */
  readonly mark: Mark;
  /** Of how many users the channel has marks. */
  readonly markedUsers: number;
}

export interface SaidMessage {
  readonly number: number;
  /** Empty: nobody's; then nobody has read it by that. */
  readonly senderId: string;
  /** Of a two-person conversation: remembered with the channel. */
  readonly users?: readonly [string, string];
}

export interface ChatMarks {
  /** A message was stored: its sender has it. Answers where the two of a conversation stand; nothing elsewhere. */
  said(channel: Channel, message: SaidMessage): Promise<readonly Standing[]>;
  /**
   * A message, or all up to it, was delivered to a user or read by them; what is read is delivered.
   * @throws GatewayError not_found where there is no message of this number, rate_limited where too many users
   *   have marks in the channel.
   */
  raise(
    channel: Channel,
    mark: {
      readonly userId: string;
      readonly kind: MarkKind;
      readonly number: number;
      readonly upTo: boolean;
    },
  ): Promise<MarksRaised>;
  /** Where a user stands in these channels, in their order. */
  standings(channels: readonly Channel[], userId: string): Promise<readonly Standing[]>;
}

export function noSuchMessage(): GatewayError {
  return new GatewayError("not_found", "there is no such message in its channel");
}

export function tooManyMarks(): GatewayError {
  const message = `marks of at most ${MAX_MARKED_USERS} users are kept for one channel`;
  return new GatewayError("rate_limited", message);
}
