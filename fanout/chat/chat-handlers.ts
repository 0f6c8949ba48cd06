/**
 * The frames of chat: send, edit, delete, receipts, what is not read, typing. A handler reads and checks its frame,
 * asks whether it may, has it done, and answers behind the event itself where the session follows the channel.
 */
import { ReceiptKind, type Position } from "#proto/gen/realtime/client/v1/event.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import type { Channel } from "#fanout/channel/channel.js";
import { toPosition } from "#fanout/channel/event-frames.js";
import { whenDelivered } from "#fanout/channel/when-delivered.js";
import { isAble } from "#fanout/policy/policy.js";
import type { FrameContext, FrameHandlers, ServerBody } from "#fanout/session/frame-handler.js";
import type { Session } from "#fanout/session/session.js";
import type { Author, Cause, Chat, Stored } from "./chat.js";
import type { ChatAccess } from "./chat-access.js";
import type { MarkKind } from "./marks.js";
import { parseMessageId } from "./message-id.js";
import { checkContent, checkText } from "./message-text.js";
import type { Receipts } from "./receipts.js";
import type { Typing } from "./typing.js";
import { checkQuestion, type Unread } from "./unread.js";

export interface ChatHandlersOptions {
  readonly chat: Chat;
  readonly access: ChatAccess;
  readonly receipts: Receipts;
  readonly unread: Unread;
  readonly typing: Typing;
}

type ChatHandlers = Required<
  Pick<FrameHandlers, "chatSend" | "chatEdit" | "chatDelete" | "receipt" | "unread" | "typing">
>;

const MARK_KINDS: ReadonlyMap<ReceiptKind, MarkKind> = new Map([
  [ReceiptKind.RECEIPT_KIND_DELIVERED, "delivered"],
  [ReceiptKind.RECEIPT_KIND_READ, "read"],
]);

export function chatHandlers({ chat, access, receipts, unread, typing }: ChatHandlersOptions): ChatHandlers {
  return {
    chatSend: async (context, body) => {
      const { session } = context;
      const check = new FieldCheck("chat_send");
      const { content, messageType, clientMessageId } = body;
      const text = checkText({ content, messageType, clientMessageId }, check);
      const { channel, users, isFound } = await access.toWrite(session, body.target, check);
      const cause = causeOf(context);
      const stored = await chat.send({ channel, users, author: authorOf(session), text, cause });
      // Who writes to a user does not know the conversation's channel yet.
      return replyBehind(session, channel, { ...stored, ...(isFound && { channel: channel.name }) });
    },

    chatEdit: async (context, { messageId, content }) => {
      const { session } = context;
      const check = new FieldCheck("chat_edit");
      checkContent(content, check);
      const change = await changeOf(context, messageId, "chat_edit.message_id");
      const stored = await chat.edit({ ...change, content });
      return replyBehind(session, change.message.channel, stored);
    },

    chatDelete: async (context, { messageId }) => {
      const change = await changeOf(context, messageId, "chat_delete.message_id");
      const stored = await chat.delete(change);
      return replyBehind(context.session, change.message.channel, stored);
    },

    receipt: async ({ session, frame, correlationId }, { messageId, kind, upTo }) => {
      const check = new FieldCheck("receipt");
      const markKind = MARK_KINDS.get(kind) ?? check.fail("kind", "it says delivered or read");
      const field = check.at("message_id").path;
      const message = parseMessageId(session.principal.app, messageId, field);
      await access.toConfirm(session, message.channel, field);
      const { traceparent } = frame;
      const reader = authorOf(session);
      await receipts.give({ message, field, reader, kind: markKind, upTo, correlationId, traceparent });
      return undefined;
    },

    unread: async ({ session }, question) => {
      const { principal } = session;
      const channels = checkQuestion(principal.app, question, new FieldCheck("unread"));
      await Promise.all(
        channels.map((channel, index) => access.toConfirm(session, channel, `unread.channels[${index}]`)),
      );
      const page =
        channels.length > 0
          ? await unread.of(principal.userId, channels)
          : await unread.pageOfOwn(principal, question.pageToken);
      return { $case: "unreadPage", value: page };
    },

    typing: async ({ session }, body) => {
      const channel = await access.toType(session, body.target, new FieldCheck("typing"));
      if (channel !== undefined) await typing.set(session, channel, body.typing);
      return undefined;
    },
  };

  async function changeOf(context: FrameContext, messageId: string, field: string) {
    const { session } = context;
    const message = parseMessageId(session.principal.app, messageId, field);
    await access.toPublish(session, message.channel, field);
    const isModerator = isAble(session.capability, "moderate");
    return { message, field, author: authorOf(session), isModerator, cause: causeOf(context) };
  }
}

function authorOf({ principal }: Session): Author {
  return { userId: principal.userId, role: principal.role };
}

function causeOf({ requestKey, correlationId, frame }: FrameContext): Cause {
  return { requestKey, correlationId, traceparent: frame.traceparent };
}

async function replyBehind(
  session: Session,
  channel: Channel,
  { position, messageId, timeMs, ...more }: Stored & { readonly channel?: string },
): Promise<ServerBody> {
  const followed = session.follows.get(channel.key);
  if (followed !== undefined) await whenDelivered(followed, position);
  const at: Position = toPosition(position);
  return { $case: "reply", value: { position: at, id: messageId, timeMs, channel: more.channel } };
}
