/**
 * Conversations of two users: found by the pair, and begun by the first message. Both take part from then on, so
 * that both may follow, write and read the history. Who may begin one is the policy's; where it has begun, one's
 * own part in it decides, as in any channel.
 */
import { GatewayError } from "#proto/errors.js";
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Channel } from "#fanout/channel/channel.js";
import { kindOptions } from "#fanout/channel/channel-limits.js";
import { PartUnknownError, type Directory, type DirectoryRecord } from "#fanout/directory/directory.js";
import type { Participations } from "#fanout/directory/participations.js";
import { capabilityOf, isAble } from "#fanout/policy/policy.js";
import type { StoreClock } from "#fanout/store-clock.js";

/** Who takes part in so much begins no further conversation: all of it is kept for a year, and read at each connect. */
export const MAX_PARTS_OF_BEGINNER = 10_000;

export interface ConversationsOptions {
  readonly directory: Pick<Directory, "recordOfUser">;
  readonly participations: Pick<Participations, "grant">;
  readonly clock: StoreClock;
  /** Whether any user may begin one with any other of their app. */
  readonly isOpen: boolean;
}

export class Conversations {
  readonly #options: ConversationsOptions;

  constructor(options: ConversationsOptions) {
    this.#options = options;
  }

  /** Whether this user may begin a conversation that nobody has begun. */
  mayBegin(principal: Principal): boolean {
    const ability = this.#options.isOpen ? "startConversations" : "startAnyConversation";
    return isAble(capabilityOf(principal.role), ability);
  }

  /**
   * Lets both take part, where they do not yet and this user may begin it: where users may not, parts are and last
   * as services gave them. Answers whether both take part then.
   * @throws GatewayError permission_denied where this user may not begin it, or their part has ended; rate_limited
   *   where they take part in too much to begin one; PartUnknownError while the directory is being rebuilt; unavailable.
   */
  async enter(
    principal: Principal,
    conversation: { readonly channel: Channel; readonly users: readonly [string, string] },
    record: DirectoryRecord,
  ): Promise<boolean> {
    const { userId } = principal;
    const { parts, ended, isComplete } = record;
    const mayBegin = this.mayBegin(principal);
    if (!parts.some((part) => part.userId === userId)) {
      if (!isComplete && !ended.has(userId)) throw new PartUnknownError();
      if (ended.has(userId) || !mayBegin) {
        throw new GatewayError("permission_denied", "you may not write to this user", {
          field: "chat_send.recipient_id",
        });
      }
      await this.#checkRoom(principal);
    }
    const { users } = conversation;
    if (!mayBegin) return users.every((user) => parts.some((part) => part.userId === user));
    await this.admit(conversation, record);
    return !users.some((user) => ended.has(user));
  }

  /**
   * Lets both take part who do not, or not for long any more; not whose part was ended lately. Parts count from
   * `sinceMs` (0: now), so that old news grants nothing that is over.
   */
  async admit(
    conversation: {
      readonly channel: Channel;
      readonly users: readonly [string, string];
      readonly sinceMs?: number;
    },
    { parts, ended }: Pick<DirectoryRecord, "parts" | "ended">,
  ): Promise<void> {
    const { channel, users, sinceMs = 0 } = conversation;
    const { participations, clock } = this.#options;
    const { participationTtlMs } = kindOptions(channel);
    const nowMs = Math.floor(clock.nowUs() / 1000);
    const expiresAtMs = (sinceMs === 0 ? nowMs : Math.min(sinceMs, nowMs)) + participationTtlMs;
    if (expiresAtMs <= nowMs) return;
    const lasting = parts.filter((part) => part.expiresAtMs > expiresAtMs - participationTtlMs / 2);
    const lasts = new Set(lasting.map(({ userId }) => userId));
    for (const userId of users) {
      if (lasts.has(userId) || ended.has(userId)) continue;
      await participations.grant({ channel, userId, relation: "member", expiresAtMs });
    }
  }

  async #checkRoom({ app, userId, role }: Principal): Promise<void> {
    if (capabilityOf(role) === "admin") return;
    const { parts } = await this.#options.directory.recordOfUser(app, userId);
    if (parts.length < MAX_PARTS_OF_BEGINNER) return;
    throw new GatewayError(
      "rate_limited",
      `who takes part in ${MAX_PARTS_OF_BEGINNER} channels begins no other`,
      {
        field: "chat_send.recipient_id",
      },
    );
  }
}
