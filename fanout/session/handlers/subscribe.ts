/**
 * `subscribe` and `unsubscribe`. The channel is followed first and permission checked after, so that a
 * change of permission in between is heard; then `subscribed`, what was missed, and the join, in this order and
 * in one turn, so that nothing comes in between.
 */
import { GatewayError } from "#proto/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { UnsubscribeReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Broker, LatestValue, StreamPosition } from "#fanout/channel/broker.js";
import { parseChannelName, type Channel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import type { Channels } from "#fanout/channel/channels.js";
import { toPosition } from "#fanout/channel/event-frames.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import { replay, type Replay } from "#fanout/channel/replay.js";
import type { Directory } from "#fanout/directory/directory.js";
import type { LastKnownLocations } from "#fanout/location/last-known-locations.js";
import { mayFollow, needsParticipation } from "#fanout/policy/policy.js";
import { ANSWERED, type FrameHandler, type ServerBody } from "../frame-handler.js";
import type { Session } from "../session.js";

/** Channels that one session may follow at a time. */
export const MAX_FOLLOWED_CHANNELS = 256;

export interface SubscribeOptions {
  readonly channels: Channels;
  readonly broker: Broker;
  readonly directory: Directory;
  readonly lastKnown: LastKnownLocations;
}

export function subscribeHandler(options: SubscribeOptions): FrameHandler<"subscribe"> {
  return async ({ session, answer }, body) => {
    const channel = parseChannelName(session.principal.app, body.channel, "subscribe.channel");
    if (!CHANNEL_KINDS.has(channel.kind)) {
      throw new GatewayError("not_found", `there is no kind of channel called ${channel.kind}`, {
        field: "subscribe.channel",
      });
    }
    const already = session.follows.get(channel.key);
    if (already !== undefined)
      return subscribed(already, { recovered: false, latest: already.freshLatest() });
    if (session.follows.size >= MAX_FOLLOWED_CHANNELS) {
      throw new GatewayError("rate_limited", `a session follows at most ${MAX_FOLLOWED_CHANNELS} channels`);
    }
    const followed = options.channels.acquire(channel);
    try {
      await followed.active();
      while (!session.follows.has(channel.key)) {
        const { signals } = followed;
        const partEndsAtMs = await checkMayFollow(options.directory, session, channel);
        const lastKnown = await lastKnownOf(options, followed);
        await replay({
          broker: options.broker,
          followed,
          after: body.after,
          whenCaughtUp: (missed) => {
            // Permission may have ended since it was checked: then it is checked again.
            if (followed.signals !== signals) return;
            followed.partEndsAtMs = Math.min(followed.partEndsAtMs, partEndsAtMs);
            enter({ session, followed, missed, lastKnown, answer });
          },
        });
      }
    } catch (thrown) {
      options.channels.release(followed);
      throw thrown;
    }
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

export function unsubscribed(channel: Channel, reason: UnsubscribeReason): ServerBody {
  return { $case: "unsubscribed", value: { channel: channel.name, reason } };
}

export function subscribed(
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
      minSendIntervalMs: 0,
    },
  };
}

/** When the part ends by itself. @throws GatewayError permission_denied; unavailable while the directory cannot be asked. */
export async function checkMayFollow(
  directory: Directory,
  session: Session,
  channel: Channel,
): Promise<number> {
  const { principal } = session;
  const participation = needsParticipation(principal, channel)
    ? await directory.participation(channel, principal.userId)
    : undefined;
  if (!mayFollow(principal, channel, participation)) {
    throw new GatewayError("permission_denied", `${channel.name} is not yours to follow`, {
      field: "subscribe.channel",
    });
  }
  return participation?.expiresAtMs ?? Infinity;
}

function enter(entry: {
  session: Session;
  followed: FollowedChannel;
  missed: Replay;
  lastKnown: readonly LatestValue[];
  answer: (body: ServerBody) => void;
}): void {
  const { session, followed, missed, lastKnown, answer } = entry;
  if (session.isEnded) throw new GatewayError("unavailable", "the connection is gone");
  // What came through the channel meanwhile is newer than what was read.
  const known = followed.freshLatest();
  const latest = known.some(isLocation) ? known : [...known, ...lastKnown];
  answer(subscribed(followed, { recovered: missed.isComplete, latest, position: missed.from }));
  for (const event of missed.events) session.sendMissed(followed, event);
  session.join(followed, missed.upTo);
}

/** Where nobody's location came through the channel yet, the last known ones. */
async function lastKnownOf(
  { lastKnown }: SubscribeOptions,
  followed: FollowedChannel,
): Promise<readonly LatestValue[]> {
  return followed.freshLatest().some(isLocation) ? [] : lastKnown.of(followed.channel);
}

function isLocation({ key }: LatestValue): boolean {
  return key.startsWith("location:");
}
