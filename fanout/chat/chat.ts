/**
 * What is said in channels: messages, edits, deletions. Each is one durable event, numbered, kept and sent to
 * Kafka's outbox in one step; what follows from it (the sender's own mark, and what the two of a conversation have
 * not read) is written behind it and before the answer, and comes again with a repeat. Who may is asked before.
 */
import { GatewayError } from "#proto/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { Broker, DurableEvent, EventKeys, StreamPosition } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import { eventIdFor } from "#fanout/channel/event-identity.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { ChatMarks } from "./marks.js";
import type { MessageId } from "./message-id.js";
import type { MessageText } from "./message-text.js";
import type { UnreadTeller } from "./unread-teller.js";

export interface Author {
  /** Empty: the system. */
  readonly userId: string;
  readonly role: string;
}

/** What goes with whatever is caused. */
export interface Cause {
  /** Makes it repeatable. */
  readonly requestKey: string;
  readonly correlationId: string;
  readonly traceparent: string;
}

export interface MessageToSend {
  readonly channel: Channel;
  /** Of a two-person conversation. */
  readonly users?: readonly [string, string] | undefined;
  readonly author: Author;
  readonly text: MessageText;
  readonly cause: Cause;
  /** 0: now. */
  readonly timeMs?: number;
  readonly sourceMark?: NonNullable<DurableEvent["sourceMark"]>;
}

export interface Stored {
  readonly outcome: "published" | "repeated";
  /** Empty where it was known by its place in a topic alone. */
  readonly messageId: string;
  readonly number: number;
  readonly position: StreamPosition;
  readonly timeMs: number;
}

export interface MessageChange {
  readonly message: MessageId;
  /** Where its id came from, for errors. */
  readonly field: string;
  readonly author: Author;
  /** Whether the author may change what others said. */
  readonly isModerator: boolean;
  readonly cause: Cause;
}

export interface ChatOptions {
  readonly broker: Pick<Broker, "history" | "isRepeat">;
  readonly publisher: Pick<Publisher, "publish">;
  readonly marks: ChatMarks;
  readonly unread: UnreadTeller;
  readonly counters: FanoutCounters;
}

export class Chat {
  readonly #options: ChatOptions;

  constructor(options: ChatOptions) {
    this.#options = options;
  }

  /** @throws GatewayError unavailable: it may have been stored; a repeat with the same key has one effect. */
  async send(message: MessageToSend): Promise<Stored> {
    const { channel, users, author, text, cause } = message;
    const { marks, unread, counters } = this.#options;
    const keys = keysOf(message);
    const isOneOfTwo = users?.includes(author.userId) === true;
    const recipientId = isOneOfTwo ? (users.find((userId) => userId !== author.userId) ?? "") : "";
    const event = eventBy(author, cause, { id: eventIdFor(channel, keys.idempotencyKey) });
    event.timeMs = message.timeMs ?? 0;
    event.body = {
      $case: "chatMessage",
      value: { ...text, messageId: "", number: 0, recipientId },
    };
    const stored = await this.#options.publisher.publish({ channel, event, ...keys });
    if (stored.outcome === "stale" || stored.position === undefined)
      throw new Error("a message has no version");
    const { outcome, position, timeMs } = stored;
    if (outcome === "published") counters.messagesSaid += 1;
    else counters.messagesRepeated += 1;
    const { id, number } = stored.message ?? { id: "", number: 0 };
    if (number > 0) {
      const said = { number, senderId: author.userId, ...(users && { users }) };
      await unread.tell(await marks.said(channel, said));
    }
    return { outcome, messageId: id, number, position, timeMs };
  }

  /** Whether it was said before. @throws GatewayError unavailable. */
  wasSaid(message: MessageToSend): Promise<boolean> {
    return this.#options.broker.isRepeat(message.channel, keysOf(message));
  }

  /** @throws GatewayError not_found where it is gone, permission_denied where it is another's. */
  async edit(change: MessageChange & { readonly content: string }): Promise<Stored> {
    const { message, content } = change;
    await this.#checkMayChange(change);
    const value = { messageId: message.text, content };
    try {
      return await this.#change(change, {
        body: { $case: "chatEdited", value },
        idempotencyKey: change.cause.requestKey,
        unlessKey: deletionKey(message),
      });
    } catch (thrown) {
      if (thrown instanceof GatewayError && thrown.kind === "conflict") throw gone(change.field);
      throw thrown;
    }
  }

  /** Deleting it again changes nothing, whoever does. @throws GatewayError as `edit` does. */
  async delete(change: MessageChange): Promise<Stored> {
    await this.#checkMayChange(change);
    const value = { messageId: change.message.text };
    return this.#change(change, {
      body: { $case: "chatDeleted", value },
      idempotencyKey: deletionKey(change.message),
      secondKey: change.cause.requestKey,
    });
  }

  async #change(
    { message, author, cause }: MessageChange,
    what: {
      readonly body: NonNullable<Event["body"]>;
      readonly idempotencyKey: string;
      readonly secondKey?: string;
      readonly unlessKey?: string;
    },
  ): Promise<Stored> {
    const { body, ...keys } = what;
    const { channel } = message;
    const event = eventBy(author, cause, { id: eventIdFor(channel, keys.idempotencyKey) });
    event.body = body;
    const stored = await this.#options.publisher.publish({ channel, event, ...keys });
    if (stored.outcome === "stale" || stored.position === undefined)
      throw new Error("a change has no version");
    const { outcome, position, timeMs } = stored;
    return { outcome, messageId: message.text, number: message.number, position, timeMs };
  }

  async #checkMayChange({ message, field, author, isModerator }: MessageChange): Promise<void> {
    const senderId = await this.#senderOf(message, field);
    if (isModerator || (author.userId !== "" && senderId === author.userId)) return;
    throw new GatewayError("permission_denied", "the message is another's", { field });
  }

  /** Read from the history: what is older than that cannot be changed any more. */
  async #senderOf({ channel, epoch, offset, text }: MessageId, field: string): Promise<string> {
    const [stored] = await this.#options.broker.history(channel, { afterOffset: offset - 1, limit: 1 });
    if (stored?.position.offset !== offset || stored.position.epoch !== epoch) throw gone(field);
    const { body, sender } = Event.decode(stored.payload);
    if (body?.$case !== "chatMessage" || body.value.messageId !== text) throw gone(field);
    return sender?.userId ?? "";
  }
}

/** A message is known by its sender's own id for it, or by the request with which it came. */
function keysOf({ author, text, cause, sourceMark }: MessageToSend): EventKeys {
  const { requestKey } = cause;
  const mark = sourceMark && { sourceMark };
  if (text.clientMessageId === "") return { idempotencyKey: requestKey, ...mark };
  const clientKey = `message\n${author.userId}\n${text.clientMessageId}`;
  return { idempotencyKey: clientKey, secondKey: requestKey, ...mark };
}

/** The same for everybody who may. */
function deletionKey({ text }: MessageId): string {
  return `delete\n${text}`;
}

function gone(field: string): GatewayError {
  return new GatewayError("not_found", "the message is gone, or never was", { field });
}

function eventBy(
  author: Author,
  { correlationId, traceparent }: Cause,
  { id }: { readonly id: string },
): Event {
  return Event.fromPartial({ id, sender: { ...author }, correlationId, traceparent });
}
