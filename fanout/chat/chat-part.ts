/**
 * Puts the chat of a fanout together: what is said, receipts, what is not read, typing, and the frames and calls
 * by which they come. The fanout has one; what it stores are its ports.
 */
import type { Broker } from "#fanout/channel/broker.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { Directory } from "#fanout/directory/directory.js";
import type { Participations } from "#fanout/directory/participations.js";
import type { Relations } from "#fanout/policy/relations.js";
import type { FrameHandlers } from "#fanout/session/frame-handler.js";
import type { OwnParticipations } from "#fanout/session/own-participations.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { Chat } from "./chat.js";
import { ChatAccess } from "./chat-access.js";
import { chatHandlers } from "./chat-handlers.js";
import { ChatMembers } from "./chat-members.js";
import { Conversations } from "./conversations.js";
import type { ChatMarks } from "./marks.js";
import { Receipts } from "./receipts.js";
import { ServiceChat } from "./service-chat.js";
import { Typing } from "./typing.js";
import { Unread } from "./unread.js";
import { UnreadTeller } from "./unread-teller.js";

/** What configuration says of chat. */
export interface ChatSettings {
  /** Whether any user may begin a conversation with any other of their app. Default: yes. */
  readonly openConversations?: boolean;
  /** How long a start of typing lasts that is not renewed. Default: 6 s. */
  readonly typingTtlMs?: number;
}

export interface ChatPartOptions {
  readonly broker: Broker;
  readonly directory: Directory;
  readonly marks: ChatMarks;
  readonly publisher: Publisher;
  readonly participations: Participations;
  readonly ownParticipations: OwnParticipations;
  readonly relations: Relations;
  readonly clock: StoreClock;
  readonly counters: FanoutCounters;
  readonly nowMs: () => number;
  readonly settings: ChatSettings;
}

export class ChatPart {
  /** For other services. */
  readonly services: ServiceChat;
  readonly receipts: Receipts;
  readonly unread: Unread;
  readonly typing: Typing;
  readonly handlers: FrameHandlers;

  constructor(options: ChatPartOptions) {
    const { broker, directory, relations, marks, publisher, participations, clock, counters, settings } =
      options;
    const unread = new UnreadTeller(publisher);
    const chat = new Chat({ broker, publisher, marks, unread, counters });
    this.receipts = new Receipts({ publisher, marks, unread, counters });
    this.unread = new Unread({ marks, directory, relations });
    const isOpen = settings.openConversations ?? true;
    const conversations = new Conversations({ directory, participations, clock, isOpen });
    const { typingTtlMs } = settings;
    this.typing = new Typing({
      publisher,
      counters,
      nowMs: options.nowMs,
      ...(typingTtlMs !== undefined && { ttlMs: typingTtlMs }),
    });
    const access = new ChatAccess({
      directory,
      participations: options.ownParticipations,
      relations,
      members: new ChatMembers({ directory, clock }),
      conversations,
    });
    this.services = new ServiceChat({ chat, conversations, directory });
    const { receipts, typing } = this;
    this.handlers = chatHandlers({ chat, access, receipts, typing, unread: this.unread });
  }

  stop(): void {
    this.typing.stop();
  }
}
