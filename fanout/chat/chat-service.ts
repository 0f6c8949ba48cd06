/**
 * `ChatService`: chat for backend services. It reads and checks requests, and says what became of them; items are
 * done in order within a channel. What services may is in `service-chat.ts`.
 */
import { toGatewayError } from "#proto/errors.js";
import {
  ChatServiceService,
  type GetUnreadRequest,
  type GetUnreadResponse,
  type ListMessagesRequest,
  type ListMessagesResponse,
  type MarkReadRequest,
  type MarkReadResponse,
  type MessageItem,
  type MessageResult,
  type SendMessagesRequest,
  type SendMessagesResponse,
} from "#proto/gen/realtime/api/v1/chat.js";
import { apiMethod, type ApiCall, type ApiMethod } from "#fanout/api/api-method.js";
import { checkBatch, FieldCheck } from "#fanout/api/field-check.js";
import { runOrdered, type ItemOutcome } from "#fanout/api/ordered-batch.js";
import type { Broker } from "#fanout/channel/broker.js";
import { toPosition } from "#fanout/channel/event-frames.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { Stored } from "./chat.js";
import type { ChatPart } from "./chat-part.js";
import { pageOfMessages } from "./message-pages.js";
import { parseMessageId } from "./message-id.js";
import { readMessageItem, type ReadMessage } from "./message-item.js";
import { toUnreadUpdate } from "./standing.js";
import { chatChannel, checkQuestion } from "./unread.js";

const MAX_ITEMS = 1_000;
const CONCURRENT_CHANNELS = 32;

export interface ChatServiceOptions {
  readonly chat: Pick<ChatPart, "services" | "receipts" | "unread">;
  readonly broker: Broker;
  readonly clock: StoreClock;
}

interface SaidItem extends Stored {
  readonly channel: string;
}

export class ChatService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(ChatServiceService.sendMessages, (request, call) => this.#sendMessages(request, call)),
    apiMethod(ChatServiceService.listMessages, (request) => this.#listMessages(request)),
    apiMethod(ChatServiceService.getUnread, (request) => this.#getUnread(request)),
    apiMethod(ChatServiceService.markRead, (request, call) => this.#markRead(request, call)),
  ];
  readonly #options: ChatServiceOptions;

  constructor(options: ChatServiceOptions) {
    this.#options = options;
  }

  async #sendMessages({ items }: SendMessagesRequest, call: ApiCall): Promise<SendMessagesResponse> {
    checkBatch("items", items, MAX_ITEMS);
    const nowMs = Math.floor(this.#options.clock.nowUs() / 1000);
    const outcomes = await runOrdered({
      items: items.map((item, index) => this.#readItem(item, index, nowMs)),
      orderKey: ({ channel }) => channel.key,
      work: (item) => this.#say(item, call),
      concurrency: CONCURRENT_CHANNELS,
      signal: call.signal,
    });
    return { results: outcomes.map((outcome) => resultOf(outcome, call)) };
  }

  #readItem(item: MessageItem, index: number, nowMs: number) {
    try {
      return readMessageItem(item, new FieldCheck(`items[${index}]`), nowMs);
    } catch (thrown) {
      return toGatewayError(thrown);
    }
  }

  async #say(item: ReadMessage, call: ApiCall): Promise<SaidItem> {
    const { channel, author, text, timeMs, requestKey } = item;
    const { correlationId, traceparent } = call;
    const cause = { requestKey, correlationId, traceparent };
    const { services } = this.#options.chat;
    const stored = await services.say({ channel, users: item.users, author, text, timeMs, cause });
    return { ...stored, channel: channel.name };
  }

  async #listMessages(request: ListMessagesRequest): Promise<ListMessagesResponse> {
    const check = new FieldCheck("");
    const channel = chatChannel(check.app("app", request.app), request.channel, { check, field: "channel" });
    return pageOfMessages(this.#options.broker, channel, request);
  }

  async #getUnread(request: GetUnreadRequest): Promise<GetUnreadResponse> {
    const check = new FieldCheck("");
    const app = check.app("app", request.app);
    check.identifier("user_id", request.userId);
    const channels = checkQuestion(app, request, check);
    const { unread } = this.#options.chat;
    if (channels.length > 0) return unread.of(request.userId, channels);
    return unread.pageOfUser(app, request.userId, request.pageToken);
  }

  async #markRead(request: MarkReadRequest, call: ApiCall): Promise<MarkReadResponse> {
    const check = new FieldCheck("");
    const app = check.app("app", request.app);
    check.identifier("user_id", request.userId);
    const message = parseMessageId(app, request.messageId, "message_id");
    const reader = { userId: request.userId, role: "" };
    const { correlationId, traceparent } = call;
    const receipt = {
      message,
      field: "message_id",
      reader,
      kind: "read",
      upTo: true,
      correlationId,
      traceparent,
    } as const;
    return { unread: toUnreadUpdate(await this.#options.chat.receipts.give(receipt)) };
  }
}

function resultOf(outcome: ItemOutcome<SaidItem>, call: ApiCall): MessageResult {
  if (outcome.ok) {
    const { messageId, channel, position, number, timeMs, outcome: what } = outcome.result;
    return {
      messageId,
      channel,
      position: toPosition(position),
      number,
      timeMs,
      repeated: what === "repeated",
    };
  }
  const { error } = outcome;
  if (error.kind === "internal" || error.kind === "unavailable") call.report(error);
  const nothing = { messageId: "", channel: "", position: undefined, number: 0, timeMs: 0, repeated: false };
  return { ...nothing, error: error.toMessage() };
}
