/** `subscribe` and `unsubscribe`: what a client asks for by name. The way in is `channel-entry.ts`. */
import { GatewayError } from "#proto/errors.js";
import { UnsubscribeReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import { parseChannelName } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import type { Channels } from "#fanout/channel/channels.js";
import { furthest, hasRoom, MAX_FOLLOWED_CHANNELS, type ChannelEntry } from "../channel-entry.js";
import { ANSWERED, type FrameHandler } from "../frame-handler.js";
import { subscribed, unsubscribed } from "../subscription-frames.js";

export function subscribeHandler(entry: ChannelEntry): FrameHandler<"subscribe"> {
  return async ({ session, receivedAtUs, answer }, body) => {
    const channel = parseChannelName(session.principal.app, body.channel, "subscribe.channel");
    if (!CHANNEL_KINDS.has(channel.kind)) {
      throw new GatewayError("not_found", `there is no kind of channel called ${channel.kind}`, {
        field: "subscribe.channel",
      });
    }
    session.declined.delete(channel.name);
    // Two ways in at once would be one too many: the one from the earlier home ends soon, well or not.
    await session.arriving.get(channel.key)?.settled;
    const { lastEntry, upSequenceInHand: upSequence } = session;
    const already = session.follows.get(channel.key);
    if (already !== undefined) {
      // An earlier home has entered by this very frame, with all behind `after`; what came since was restored.
      const recovered = lastEntry?.upSequence === upSequence && lastEntry.channel === channel.name;
      return subscribed(session, already, { recovered, latest: already.freshLatest() });
    }
    if (!hasRoom(session)) {
      throw new GatewayError("rate_limited", `a session follows at most ${MAX_FOLLOWED_CHANNELS} channels`);
    }
    // A frame from before the session came here may be one that an earlier home has dealt with, or half of it.
    const isOlder = receivedAtUs <= session.resumable.homeStampUs;
    const given = isOlder ? session.open.positions[channel.name] : undefined;
    const after = furthest(body.after, given);
    await entry.subscribe({
      session,
      channel,
      after,
      answer: (said) => {
        const isWhole = said.$case === "subscribed" && said.value.recovered;
        session.lastEntry = isWhole ? { channel: channel.name, upSequence } : undefined;
        answer(said);
      },
    });
    session.saveState();
    return ANSWERED;
  };
}

export function unsubscribeHandler(channels: Channels): FrameHandler<"unsubscribe"> {
  return ({ session }, body) => {
    const channel = parseChannelName(session.principal.app, body.channel, "unsubscribe.channel");
    const followed = session.follows.get(channel.key);
    session.decline(channel.name);
    if (followed !== undefined) {
      session.leave(followed);
      channels.release(followed);
      session.saveState();
    } else if (session.arriving.delete(channel.key)) {
      session.resumable.unfollow(channel.name);
      session.saveState();
    }
    return unsubscribed(channel, UnsubscribeReason.UNSUBSCRIBE_REASON_REQUESTED);
  };
}
