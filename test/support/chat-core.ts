/**
 * Chat on a fanout core, for unit tests of its handlers: users on two fanouts, who write, confirm and type, and
 * what each of them was answered and told. An order `42` has two who take part: ann and ben.
 */
import { expect, vi } from "vitest";
import type { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { ErrorCode, Error as ErrorMessage } from "#proto/gen/realtime/client/v1/errors.js";
import { Event, type ChatMessage, type UnreadUpdate } from "#proto/gen/realtime/client/v1/event.js";
import type { Reply, UnreadPage } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { ChatSettings } from "#fanout/chat/chat-part.js";
import { conversationOf } from "#fanout/chat/conversation.js";
import type { FakeEdge } from "./fake-edge.js";
import { FanoutCore, order } from "./fanout-core.js";

type ClientBody = NonNullable<ClientFrame["body"]>;
type EventBody = NonNullable<Event["body"]>;
/** Of an error: its code. */
export type Answer = Reply | UnreadPage | ErrorCode;
export type Target = { readonly channel: string } | { readonly recipientId: string };

export interface SendMore {
  readonly clientMessageId?: string;
  readonly requestId?: string;
  readonly messageType?: string;
}

export const ORDER = order("42");
export const PAIR = conversationOf({ app: "default", users: ["ann", "ben"] });
export const DELIVERED = 1;
export const READ = 2;

export const until = (expectation: () => unknown) => vi.waitFor(expectation, { timeout: 5_000, interval: 5 });

/** A user's socket. */
export class ChatUser {
  constructor(
    private readonly edge: FakeEdge,
    private readonly session: number,
  ) {}

  get heard(): readonly string[] {
    return this.edge.heard(this.session);
  }

  get frames() {
    return this.edge.framesOf(this.session);
  }

  async follow(channel: Channel): Promise<void> {
    this.edge.subscribe(this.session, channel.name);
    await until(() => expect(this.heard).toContain(`subscribed ${channel.name}`));
  }

  /** The bodies of the events of a type that it was given. */
  told<Case extends EventBody["$case"]>(type: Case) {
    return this.frames.flatMap(({ body }) => {
      if (body?.$case !== "event" || body.value.body?.$case !== type) return [];
      return [body.value.body.value as Extract<EventBody, { $case: Case }>["value"]];
    });
  }

  async ask(body: ClientBody, frame: { readonly requestId?: string } = {}): Promise<Answer> {
    const before = this.#answers().length;
    this.edge.request(this.session, body, frame);
    await until(() => expect(this.#answers()).toHaveLength(before + 1));
    const answer = this.#answers().at(-1);
    if (answer === undefined) throw new Error("no answer");
    return "code" in answer ? answer.code : answer;
  }

  send(target: Target, content = "hello", more: SendMore = {}): Promise<Answer> {
    const { clientMessageId = "", messageType = "", requestId } = more;
    const value = { target: toTarget(target), content, messageType, clientMessageId };
    return this.ask({ $case: "chatSend", value }, requestId === undefined ? {} : { requestId });
  }

  /** Sends what is not refused. */
  async say(target: Target, content = "hello", more: SendMore = {}): Promise<Reply> {
    const answer = await this.send(target, content, more);
    if (typeof answer === "number" || !("id" in answer))
      throw new Error(`refused: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Of the last refusal. */
  get refusedField(): string | undefined {
    return this.#answers().findLast((answer): answer is ErrorMessage => "code" in answer)?.field;
  }

  edit(messageId: string, content = "better"): Promise<Answer> {
    return this.ask({ $case: "chatEdit", value: { messageId, content } });
  }

  delete(messageId: string): Promise<Answer> {
    return this.ask({ $case: "chatDelete", value: { messageId } });
  }

  confirm(messageId: string, kind: 0 | 1 | 2, { upTo = true } = {}): Promise<Answer> {
    return this.ask({ $case: "receipt", value: { messageId, kind, upTo } });
  }

  type(target: Target, typing = true): Promise<Answer> {
    return this.ask({ $case: "typing", value: { target: toTarget(target), typing } });
  }

  askUnread(channels: string[] = [], pageToken = ""): Promise<Answer> {
    return this.ask({ $case: "unread", value: { channels, pageToken } });
  }

  async unread(channels: string[] = []): Promise<readonly UnreadUpdate[]> {
    const answer = await this.askUnread(channels);
    if (typeof answer === "number" || !("channels" in answer)) throw new Error("no page");
    return answer.channels;
  }

  leave(): void {
    this.edge.say({ $case: "close", value: { session: this.session, reason: "" } });
  }

  #answers(): (Reply | UnreadPage | ErrorMessage)[] {
    return this.frames.flatMap(({ body }): (Reply | UnreadPage | ErrorMessage)[] => {
      const isAnswer = body?.$case === "reply" || body?.$case === "error" || body?.$case === "unreadPage";
      return isAnswer ? [body.value] : [];
    });
  }
}

interface UserOptions {
  readonly role?: string;
  /** On the other fanout. */
  readonly there?: boolean;
  readonly claimsJson?: string;
}

export class ChatCore extends FanoutCore {
  readonly #here: FakeEdge;
  #there: FakeEdge | undefined;
  #sessions = 0;

  private constructor(chat: ChatSettings) {
    super({ chat });
    this.#here = this.edge();
  }

  static async start(chat: ChatSettings = {}): Promise<ChatCore> {
    const core = new ChatCore(chat);
    await core.grant(ORDER, "ann");
    await core.grant(ORDER, "ben", "assigned");
    return core;
  }

  /** A user whose session is open. */
  async user(userId: string, options: UserOptions = {}): Promise<ChatUser> {
    const { role = "customer", there = false, claimsJson = "" } = options;
    const edge = there ? (this.#there ??= this.edgeElsewhere()) : this.#here;
    this.#sessions += 1;
    edge.open(this.#sessions, { userId, role, claimsJson });
    const user = new ChatUser(edge, this.#sessions);
    await until(() => expect(user.heard).toContain(`subscribed user:${userId}`));
    return user;
  }

  /** What is stored of a channel. */
  async stored(channel = ORDER): Promise<Event[]> {
    const events = await this.elsewhere.history(channel, { afterOffset: 0, limit: 500 });
    return events.map(({ payload }) => Event.decode(payload));
  }

  async messages(channel = ORDER): Promise<ChatMessage[]> {
    const events = await this.stored(channel);
    return events.flatMap(({ body }) => (body?.$case === "chatMessage" ? [body.value] : []));
  }
}

function toTarget(target: Target) {
  if ("channel" in target) return { $case: "channel", value: target.channel } as const;
  return { $case: "recipientId", value: target.recipientId } as const;
}
