/** What is said of a subscription: that a channel is followed from here on, or is followed no more. */
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { UnsubscribeReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { LatestValue, StreamPosition } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import { toPosition } from "#fanout/channel/event-frames.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { ServerBody } from "./frame-handler.js";
import type { Session } from "./session.js";

export function unsubscribed(channel: Channel, reason: UnsubscribeReason): ServerBody {
  return { $case: "unsubscribed", value: { channel: channel.name, reason } };
}

export function subscribed(
  session: Session,
  followed: FollowedChannel,
  options: { recovered: boolean; latest: Iterable<LatestValue>; position?: StreamPosition | undefined },
): ServerBody {
  const position = options.position ?? followed.position;
  return {
    $case: "subscribed",
    value: {
      channel: followed.channel.name,
      position: position && toPosition(position),
      recovered: options.recovered,
      latest: Array.from(options.latest, ({ payload }) => Event.decode(payload)),
      minSendIntervalMs: session.minSendIntervalMs,
    },
  };
}
