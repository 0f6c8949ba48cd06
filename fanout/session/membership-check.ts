/**
 * Permissions of live followers, checked again when a channel's participants changed: who takes part no
 * more is unsubscribed at once and told why.
 */
import { UnsubscribeReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { Directory } from "#fanout/directory/directory.js";
import { mayFollow } from "#fanout/policy/policy.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { unsubscribed } from "./handlers/subscribe.js";
import type { Session } from "./session.js";

const RETRY_MS = 1000;

export class MembershipCheck {
  constructor(
    private readonly options: {
      readonly directory: Directory;
      readonly channels: Channels;
      readonly counters: FanoutCounters;
    },
  ) {}

  async check(channel: Channel, followers: readonly Session[]): Promise<void> {
    if (followers.length === 0) return;
    try {
      const participants = await this.options.directory.participants(channel);
      const byUser = new Map(participants.map((participation) => [participation.userId, participation]));
      for (const session of followers) {
        const participation = byUser.get(session.principal.userId);
        const followed = session.follows.get(channel.key);
        if (followed !== undefined && participation !== undefined) {
          followed.partEndsAtMs = Math.min(followed.partEndsAtMs, participation.expiresAtMs);
        }
        if (!mayFollow(session.principal, channel, participation)) this.#end(session, channel);
      }
    } catch {
      // Nobody is unsubscribed for a store that is away; the question is asked again until it is answered.
      this.options.counters.storeFailures += 1;
      const live = (): Session[] =>
        followers.filter((each) => !each.isEnded && each.follows.has(channel.key));
      setTimeout(() => void this.check(channel, live()), RETRY_MS).unref();
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
