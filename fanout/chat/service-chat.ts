/**
 * Messages that other services say, through the API or by Kafka. They are trusted: nobody asks whether the sender
 * takes part, and the two whom a service lets write to each other take part from then on.
 */
import type { Directory } from "#fanout/directory/directory.js";
import type { Chat, MessageToSend, Stored } from "./chat.js";
import { CONVERSATION } from "./conversation.js";
import type { Conversations } from "./conversations.js";

export interface ServiceChatOptions {
  readonly chat: Pick<Chat, "send">;
  readonly conversations: Pick<Conversations, "admit">;
  readonly directory: Pick<Directory, "recordOf">;
}

export class ServiceChat {
  readonly #options: ServiceChatOptions;

  constructor(options: ServiceChatOptions) {
    this.#options = options;
  }

  /** With `users`, they are let into the conversation first. @throws GatewayError as `Chat.send` does. */
  async say(message: MessageToSend): Promise<Stored> {
    const users = await this.#usersOf(message);
    return this.#options.chat.send({ ...message, users });
  }

  /** A conversation that is named by its channel is of two where two take part. */
  async #usersOf({
    channel,
    users,
    timeMs = 0,
  }: MessageToSend): Promise<readonly [string, string] | undefined> {
    if (channel.kind !== CONVERSATION) return undefined;
    const { directory, conversations } = this.#options;
    const { parts } = await directory.recordOf(channel);
    if (users !== undefined) {
      // A service says who may; that a part was ended lately does not speak against it.
      await conversations.admit({ channel, users, sinceMs: timeMs }, { parts, ended: new Set() });
      return users;
    }
    const [one, other, ...more] = parts;
    const isPair = one !== undefined && other !== undefined && more.length === 0;
    return isPair ? [one.userId, other.userId] : undefined;
  }
}
