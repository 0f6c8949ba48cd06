/**
 * Permissions of live followers, checked again when a channel's participants changed: who takes part no
 * more is unsubscribed at once and told why. While the directory is being rebuilt after a loss, who is not found is
 * not checked: a subscription outlives the record of its permission.
 */
import { UnsubscribeReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Channels } from "#fanout/channel/channels.js";
import { may, needsPart } from "#fanout/policy/policy.js";
import type { Relations } from "#fanout/policy/relations.js";
import { PRESENCE_KIND } from "#fanout/presence/presence-channel.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { unsubscribed } from "./subscription-frames.js";
import type { Session } from "./session.js";

const RETRY_MS = 1000;

export class MembershipCheck {
  constructor(
    private readonly options: {
      readonly relations: Pick<Relations, "partsOf">;
      readonly channels: Channels;
      readonly counters: FanoutCounters;
    },
  ) {}

  async check(channel: Channel, all: readonly Session[]): Promise<void> {
    // Of a role there may be very many, and no part of theirs can change.
    const followers = all.filter(({ principal }) => needsPart(principal, channel));
    if (followers.length === 0) return;
    try {
      const known = await this.options.relations.partsOf(
        followers.map(({ principal }) => principal),
        channel,
      );
      this.options.channels.get(channel)?.membersChecked(known.version);
      for (const session of followers) {
        const found = known.partOf(session.principal);
        const part = typeof found === "object" ? found : undefined;
        const followed = session.follows.get(channel.key);
        if (followed !== undefined && part !== undefined) {
          followed.partEndsAtMs = Math.min(followed.partEndsAtMs, part.expiresAtMs);
        }
        if (found !== "unknown" && !may(session.principal, "join", channel, part))
          this.#end(session, channel);
      }
    } catch {
      // Nobody is unsubscribed for a store that is away; the question is asked again until it is answered.
      this.options.counters.storeFailures += 1;
      const live = (): Session[] =>
        followers.filter((each) => !each.isEnded && each.follows.has(channel.key));
      setTimeout(() => void this.check(channel, live()), RETRY_MS).unref();
    }
  }

  /** Whom a user may watch depends on what they take part in, which has changed or may have. */
  checkWatched(sessions: Iterable<Session>): void {
    for (const session of sessions) {
      for (const { channel } of session.follows.values()) {
        if (channel.kind === PRESENCE_KIND) void this.check(channel, [session]);
      }
    }
  }

  #end(session: Session, channel: Channel): void {
    const followed = session.follows.get(channel.key);
    if (followed === undefined) return;
    const body = unsubscribed(channel, UnsubscribeReason.UNSUBSCRIBE_REASON_PERMISSION_ENDED);
    session.leave(followed);
    this.options.channels.release(followed);
    session.send({ replyTo: 0, body });
    session.saveState();
  }
}
