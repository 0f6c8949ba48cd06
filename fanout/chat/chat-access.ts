/**
 * Where a user's chat goes, and whether it may: reads the target of a frame, asks the policy with the user's part
 * in the channel, and lets both take part in a conversation that begins. What is not allowed is denied by throwing.
 */
import { GatewayError } from "#proto/errors.js";
import type { FieldCheck } from "#fanout/api/field-check.js";
import type { Channel } from "#fanout/channel/channel.js";
import { PartUnknownError, type Directory, type Participation } from "#fanout/directory/directory.js";
import { may, needsPart } from "#fanout/policy/policy.js";
import type { Relations } from "#fanout/policy/relations.js";
import type { OwnParticipations } from "#fanout/session/own-participations.js";
import type { Session } from "#fanout/session/session.js";
import type { ChatMembers } from "./chat-members.js";
import { conversationOf, CONVERSATION } from "./conversation.js";
import type { Conversations } from "./conversations.js";
import { chatChannel } from "./unread.js";

/** As frames have it. */
export type ChatTarget =
  | { readonly $case: "channel"; readonly value: string }
  | { readonly $case: "recipientId"; readonly value: string };

export interface Destination {
  readonly channel: Channel;
  /** Of a two-person conversation. */
  readonly users?: readonly [string, string];
  /** The channel is not the sender's word, but was found. */
  readonly isFound: boolean;
}

export interface ChatAccessOptions {
  readonly directory: Pick<Directory, "participation">;
  readonly participations: OwnParticipations;
  readonly relations: Pick<Relations, "namesOf">;
  readonly members: ChatMembers;
  readonly conversations: Conversations;
}

export class ChatAccess {
  readonly #options: ChatAccessOptions;

  constructor(options: ChatAccessOptions) {
    this.#options = options;
  }

  /** Where a message goes; a conversation has begun then. @throws GatewayError */
  async toWrite(session: Session, target: ChatTarget | undefined, check: FieldCheck): Promise<Destination> {
    const found = readTarget(session, target, check);
    const { channel, users } = found;
    if (users !== undefined) {
      const record = await this.#options.members.of(session, channel);
      const areBothIn = await this.#options.conversations.enter(
        session.principal,
        { channel, users },
        record,
      );
      // Whose part is over is told nothing, not even that there is something.
      return areBothIn ? found : { channel, isFound: true };
    }
    if (channel.kind !== CONVERSATION) {
      await this.toPublish(session, channel, check.at("channel").path);
      return found;
    }
    const { parts, ended, isComplete } = await this.#options.members.of(session, channel);
    const { principal } = session;
    const names = this.#options.relations.namesOf(principal);
    const own = parts.find(({ userId }) => names.includes(userId));
    if (!may(principal, "publish", channel, own)) {
      if (!isComplete && !names.every((name) => ended.has(name))) throw new PartUnknownError();
      throw denied(channel, check.at("channel").path);
    }
    const [one, other, ...more] = parts;
    if (one === undefined || other === undefined || more.length > 0) return found;
    return { ...found, users: [one.userId, other.userId] };
  }

  /** Where typing is told; undefined where there is nobody yet to hear it. @throws GatewayError */
  async toType(
    session: Session,
    target: ChatTarget | undefined,
    check: FieldCheck,
  ): Promise<Channel | undefined> {
    const { channel, isFound } = readTarget(session, target, check);
    const { participations, conversations } = this.#options;
    if (!isFound) {
      await this.toPublish(session, channel, check.at("channel").path);
      return channel;
    }
    const part = await participations.of(session, channel);
    if (may(session.principal, "publish", channel, part)) return channel;
    if (conversations.mayBegin(session.principal)) return undefined;
    throw denied(channel, check.at("recipient_id").path);
  }

  /** @throws GatewayError permission_denied, unavailable. */
  async toPublish(session: Session, channel: Channel, field: string): Promise<void> {
    const part = await this.#options.participations.of(session, channel);
    if (!may(session.principal, "publish", channel, part)) throw denied(channel, field);
  }

  /** @throws GatewayError permission_denied, unavailable. */
  async toConfirm(session: Session, channel: Channel, field: string): Promise<void> {
    const part = await this.#partOf(session, channel);
    if (!may(session.principal, "confirm", channel, part)) throw denied(channel, field);
  }

  /** Admins are asked for too: what they may everywhere does not say in what they take part. */
  async #partOf(session: Session, channel: Channel): Promise<Participation | undefined> {
    const { principal } = session;
    if (needsPart(principal, channel)) return this.#options.participations.of(session, channel);
    return this.#options.directory.participation(channel, principal.userId);
  }
}

function readTarget(session: Session, target: ChatTarget | undefined, check: FieldCheck): Destination {
  const { app, userId } = session.principal;
  if (target === undefined) check.fail("target", "it says a channel or a recipient_id");
  if (target.$case === "channel") {
    return { channel: chatChannel(app, target.value, { check, field: "channel" }), isFound: false };
  }
  const recipientId = target.value;
  check.identifier("recipient_id", recipientId);
  if (recipientId === userId) check.fail("recipient_id", "nobody has a conversation with themselves");
  const users: [string, string] = [userId, recipientId];
  return { channel: conversationOf({ app, users }), users, isFound: true };
}

function denied(channel: Channel, field: string): GatewayError {
  return new GatewayError("permission_denied", `${channel.name} is not yours to write to`, { field });
}
