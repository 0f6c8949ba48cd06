/** A message as a backend service says it: read and checked, each error naming the field. */
import { randomUUID } from "node:crypto";
import type { MessageItem } from "#proto/gen/realtime/api/v1/chat.js";
import type { FieldCheck } from "#fanout/api/field-check.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Author } from "./chat.js";
import { conversationOf } from "./conversation.js";
import { checkText, type MessageText } from "./message-text.js";
import { chatChannel } from "./unread.js";

export interface ReadMessage {
  readonly channel: Channel;
  /** Where the service named the two of a conversation. */
  readonly users: readonly [string, string] | undefined;
  readonly author: Author;
  readonly text: MessageText;
  readonly timeMs: number;
  readonly requestKey: string;
}

/** Clocks differ; a time further ahead is a fault of the caller. */
const MAX_AHEAD_MS = 5 * 60_000;
const SYSTEM_ROLE = "service";
const DEFAULT_ROLE = "user";

/** @throws GatewayError */
export function readMessageItem(item: MessageItem, check: FieldCheck, nowMs: number): ReadMessage {
  const { senderId, senderRole, content, messageType, clientMessageId, timeMs } = item;
  const app = check.app("app", item.app);
  check.optionalIdentifier("sender_id", senderId);
  check.optionalIdentifier("sender_role", senderRole);
  check.range("time_ms", timeMs, { from: 0, to: nowMs + MAX_AHEAD_MS });
  const text = checkText({ content, messageType, clientMessageId }, check);
  const role = senderRole === "" ? (senderId === "" ? SYSTEM_ROLE : DEFAULT_ROLE) : senderRole;
  return {
    ...readTarget(item, app, check),
    author: { userId: senderId, role },
    text,
    timeMs,
    // Where the caller gave no id of its own, nobody can send it again.
    requestKey: `service\n${randomUUID()}`,
  };
}

function readTarget(
  { target, senderId }: MessageItem,
  app: string,
  check: FieldCheck,
): Pick<ReadMessage, "channel" | "users"> {
  if (target === undefined) check.fail("target", "it says a channel or two users");
  if (target.$case === "channel") {
    return { channel: chatChannel(app, target.value, { check, field: "channel" }), users: undefined };
  }
  const { userId, otherUserId } = target.value;
  const pair = check.at("users");
  pair.identifier("user_id", userId);
  pair.identifier("other_user_id", otherUserId);
  if (userId === otherUserId) pair.fail("other_user_id", "nobody has a conversation with themselves");
  const users: [string, string] = [userId, otherUserId];
  if (senderId !== "" && !users.includes(senderId))
    check.fail("sender_id", "it must be one of the two users");
  return { channel: conversationOf({ app, users }), users };
}
