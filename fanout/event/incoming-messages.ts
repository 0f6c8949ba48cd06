/**
 * Messages that other services say (`message.sent`): where they go, and under which ids. A message that comes back
 * under the gateway's own id is one that was delivered already; one with an id of its own is known by that.
 */
import { GatewayError } from "#proto/errors.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import type { MessageToSend } from "#fanout/chat/chat.js";
import { conversationOf, CONVERSATION } from "#fanout/chat/conversation.js";
import { readMessageId } from "#fanout/chat/message-id.js";
import { checkText, MAX_CONTENT_BYTES, type MessageText } from "#fanout/chat/message-text.js";
import type { CheckedEnvelope } from "./envelope.js";
import type { EventFields } from "./event-fields.js";
import { UnreadableRecord } from "./event-source.js";

const DEFAULT_ROLE = "user";
const SYSTEM_ROLE = "service";
const MAX_MESSAGE_ID_LENGTH = 320;
const MAX_CLIENT_ID = 128;

/** Undefined where it is one of the gateway's own. @throws UnreadableRecord */
export function messageOf(envelope: CheckedEnvelope, fields: EventFields): MessageToSend | undefined {
  const { app, eventId, correlationId, traceparent, occurredAtMs: timeMs } = envelope;
  const messageId = fields.text("messageId", MAX_MESSAGE_ID_LENGTH);
  const senderId = fields.optionalId("senderId") ?? "";
  const recipientId = fields.optionalId("recipientId") ?? "";
  const channel = channelFrom(app, fields, [senderId, recipientId]);
  if (readMessageId(app, messageId)?.channel.key === channel.key) return undefined;
  const isPair =
    channel.kind === CONVERSATION && senderId !== "" && recipientId !== "" && senderId !== recipientId;
  const role = fields.text("senderRole");
  return {
    channel,
    users: isPair ? ([senderId, recipientId] as const) : undefined,
    author: { userId: senderId, role: role === "" ? (senderId === "" ? SYSTEM_ROLE : DEFAULT_ROLE) : role },
    text: textFrom(fields, messageId),
    timeMs,
    cause: { requestKey: messageId === "" ? eventId : `outside\n${messageId}`, correlationId, traceparent },
  };
}

/** A message that an app has sent is known by the app's own id, any other by that of its service. */
function textFrom(fields: EventFields, messageId: string): MessageText {
  const content = fields.text("content", MAX_CONTENT_BYTES);
  const clientMessageId = fields.text("clientMessageId");
  const text = {
    content: content === "" ? fields.text("message", MAX_CONTENT_BYTES) : content,
    messageType: fields.text("messageType"),
    clientMessageId:
      clientMessageId === "" && messageId.length <= MAX_CLIENT_ID ? messageId : clientMessageId,
  };
  try {
    return checkText(text, new FieldCheck("data"));
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    throw new UnreadableRecord(`${asInRecord(error.field ?? "data")}: ${error.message}`, { cause: error });
  }
}

/** The contract writes names otherwise than records do. */
function asInRecord(field: string): string {
  return field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function channelFrom(app: string, fields: EventFields, pair: readonly [string, string]): Channel {
  const groupId = fields.optionalId("groupId");
  if (groupId !== undefined) return channelOf(app, "group", groupId);
  const conversationId = fields.optionalId("conversationId");
  if (conversationId !== undefined) return channelOf(app, CONVERSATION, conversationId);
  const orderId = fields.optionalId("orderId");
  if (orderId !== undefined) return channelOf(app, "order", orderId);
  const [senderId, recipientId] = pair;
  if (senderId !== "" && recipientId !== "" && senderId !== recipientId) {
    return conversationOf({ app, users: [senderId, recipientId] });
  }
  throw new UnreadableRecord("data.conversationId must be given, or groupId, orderId, or two users");
}
