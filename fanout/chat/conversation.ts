/**
 * The conversation of two users: its channel follows from the two ids, whichever writes first. The ids are hashed
 * together, because two of them may be longer than a channel's id, and nothing that could be written between
 * them is no part of an id.
 */
import { createHash } from "node:crypto";
import { channelOf, type Channel } from "#fanout/channel/channel.js";

export const CONVERSATION = "conversation";

export interface UserPair {
  readonly app: string;
  readonly users: readonly [string, string];
}

/** The same for both orders, another one for each other pair. */
export function conversationOf({ app, users }: UserPair): Channel {
  const digest = createHash("sha256")
    .update(JSON.stringify(sortedPair(users)))
    .digest("base64url");
  return channelOf(app, CONVERSATION, `pair-${digest}`);
}

/** By code units, so that every process sorts alike. */
export function sortedPair([one, other]: readonly [string, string]): [string, string] {
  return one < other ? [one, other] : [other, one];
}
