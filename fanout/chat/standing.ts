/** Where a user stands in a channel, from the channel's count and the user's marks; and how apps are told. */
import type { UnreadUpdate } from "#proto/gen/realtime/client/v1/event.js";
import type { Channel } from "#fanout/channel/channel.js";
import { marked, type Mark } from "./mark.js";
import type { Standing } from "./marks.js";

export interface StandingFacts {
  readonly channel: Channel;
  readonly userId: string;
  readonly count: number;
  readonly delivered: Mark;
  readonly read: Mark;
  /** Of a two-person conversation. */
  readonly users: readonly string[];
}

export function standingOf({ channel, userId, count, delivered, read, users }: StandingFacts): Standing {
  return {
    channel,
    userId,
    lastNumber: count,
    deliveredNumber: delivered.upTo,
    readNumber: read.upTo,
    unread: Math.max(0, count - marked(read)),
    version: count + marked(read),
    recipientId: users.find((each) => each !== userId) ?? "",
  };
}

export function toUnreadUpdate(standing: Standing): UnreadUpdate {
  const { channel, unread, lastNumber, readNumber, deliveredNumber, recipientId } = standing;
  return { channel: channel.name, unread, lastNumber, readNumber, deliveredNumber, recipientId };
}
