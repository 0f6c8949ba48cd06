/**
 * Messages that other services say, through the API or by Kafka. They are trusted: nobody asks whether the sender
 * takes part, and the two whom a service lets write to each other take part from then on. Only what is said for the
 * first time does that: old records that are read again begin nothing that was ended since.
 */
import type { Directory } from "#fanout/directory/directory.js";
import type { Chat, MessageToSend, Stored } from "./chat.js";
import { CONVERSATION } from "./conversation.js";
import type { Conversations } from "./conversations.js";

export interface ServiceChatOptions {
  readonly chat: Pick<Chat, "send" | "wasSaid">;
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
  async #usersOf(message: MessageToSend): Promise<readonly [string, string] | undefined> {
    const { channel, users, timeMs = 0 } = message;
    if (channel.kind !== CONVERSATION) return undefined;
    const { directory, conversations } = this.#options;
    const { parts } = await directory.recordOf(channel);
    if (users !== undefined) {
      const areBothIn = users.every((userId) => parts.some((part) => part.userId === userId));
      // Parts come before the message: whose part is not there though it was said, theirs has ended since.
      if (!areBothIn && (await this.#options.chat.wasSaid(message))) return undefined;
      // A service says who may; that a part was ended lately does not speak against it.
      await conversations.admit({ channel, users, sinceMs: timeMs }, { parts, ended: new Set() });
      return users;
    }
    const [one, other, ...more] = parts;
    const isPair = one !== undefined && other !== undefined && more.length === 0;
    return isPair ? [one.userId, other.userId] : undefined;
  }
}
