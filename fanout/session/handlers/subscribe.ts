/** `subscribe` and `unsubscribe`: what a client asks for by name. The way in is `channel-entry.ts`. */
import { GatewayError } from "#proto/errors.js";
import { UnsubscribeReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import { parseChannelName } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import type { Channels } from "#fanout/channel/channels.js";
import { furthest, MAX_FOLLOWED_CHANNELS, type ChannelEntry } from "../channel-entry.js";
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
    // A frame from before the session came here may be one that an earlier home has dealt with, or half of it.
    const isOlder = receivedAtUs <= session.resumable.homeStampUs;
    const already = session.follows.get(channel.key);
    if (already !== undefined) {
      // An earlier home has answered it and brought the session in; what came since was restored.
      const recovered = isOlder && body.after !== undefined;
      return subscribed(already, { recovered, latest: already.freshLatest() });
    }
    if (session.follows.size >= MAX_FOLLOWED_CHANNELS) {
      throw new GatewayError("rate_limited", `a session follows at most ${MAX_FOLLOWED_CHANNELS} channels`);
    }
    const given = isOlder ? session.open.positions[channel.name] : undefined;
    await entry.subscribe({ session, channel, after: furthest(body.after, given), answer });
    session.saveState();
    return ANSWERED;
  };
}

export function unsubscribeHandler(channels: Channels): FrameHandler<"unsubscribe"> {
  return ({ session }, body) => {
    const channel = parseChannelName(session.principal.app, body.channel, "unsubscribe.channel");
    const followed = session.follows.get(channel.key);
    if (followed !== undefined) {
      session.leave(followed);
      channels.release(followed);
      session.saveState();
    }
    return unsubscribed(channel, UnsubscribeReason.UNSUBSCRIBE_REASON_REQUESTED);
  };
}
