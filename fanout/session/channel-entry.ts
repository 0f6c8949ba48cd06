/**
 * The way of a session into a channel, whoever asked for it. The channel is followed first and permission
 * checked after, so that a change of permission in between is heard; what was missed is read; then the session
 * enters in the very turn in which the reading has caught up with the channel, so that nothing comes in between.
 */
import { GatewayError } from "#proto/errors.js";
import type { Broker, StreamPosition } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import { checkPosition } from "#fanout/channel/position-check.js";
import { replay, type Replay, type ReplayBudget } from "#fanout/channel/replay.js";
import { PartUnknownError, type Participation } from "#fanout/directory/directory.js";
import type { LastKnownLocations, ShownLatest } from "#fanout/location/last-known-locations.js";
import { broadcastsOf } from "#fanout/notification/broadcast-channels.js";
import { may, needsPart } from "#fanout/policy/policy.js";
import type { Relations } from "#fanout/policy/relations.js";
import type { Presence } from "#fanout/presence/presence.js";
import type { ServerBody } from "./frame-handler.js";
import type { Session } from "./session.js";
import { subscribed } from "./subscription-frames.js";

/** Channels that one session may follow at a time, beside those that it follows because of its role. */
export const MAX_FOLLOWED_CHANNELS = 256;

export function hasRoom({ principal, follows, arriving }: Session): boolean {
  const broadcasts = broadcastsOf(principal).filter(({ key }) => follows.has(key) || arriving.has(key));
  return follows.size + arriving.size - broadcasts.length < MAX_FOLLOWED_CHANNELS;
}

export interface ChannelEntryOptions {
  readonly channels: Channels;
  readonly broker: Broker;
  readonly relations: Pick<Relations, "partOf">;
  readonly lastKnown: LastKnownLocations;
  readonly presence: Pick<Presence, "refreshValue">;
  /** What is stored and not given any more. */
  readonly isOver?: (payload: Uint8Array) => boolean;
}

export interface EntryRequest {
  readonly session: Session;
  readonly channel: Channel;
  /** What the socket has. Absent: it wants nothing from before. */
  readonly after: StreamPosition | undefined;
  /**
   * The session followed it before: a subscription outlives the record of its permission. While the directory is
   * being rebuilt it enters unchecked; when that is over it is checked as all followers are.
   */
  readonly isContinued?: boolean;
  /** Of the replay; several entries may share one. */
  readonly budget?: ReplayBudget;
  /** False once the channel is not wanted any more: then nothing is said, and nothing followed. */
  readonly isWanted?: () => boolean;
}

export class ChannelEntry {
  readonly #options: ChannelEntryOptions;

  constructor(options: ChannelEntryOptions) {
    this.#options = options;
  }

  /**
   * Says `subscribed`, gives what was missed, and joins, in this order and in one turn.
   * @throws GatewayError permission_denied, not_found, invalid_argument, unavailable; then nothing is followed.
   */
  async subscribe(request: EntryRequest & { readonly answer: (body: ServerBody) => void }): Promise<void> {
    const { session, after, answer } = request;
    checkPosition(after, "subscribe.after");
    let shown: ShownLatest = (known) => known;
    const isIn = await this.enter({
      ...request,
      prepare: async (followed) => {
        shown = await this.#options.lastKnown.of(followed, followed.freshLatest());
        await this.#options.presence.refreshValue(followed);
      },
      join: (followed, missed) => {
        // What came through the channel meanwhile is newer than what was read.
        const latest = shown(followed.freshLatest());
        answer(
          subscribed(session, followed, { recovered: missed.isComplete, latest, position: missed.from }),
        );
        for (const event of missed.events) session.sendMissed(followed, event);
        // What is told here is not received yet. Until it is, a resume must find the same loss again.
        // Nor is a position that the client says kept as one that it was given, where it is not found to be one.
        const isSure = missed.isComplete || (after === undefined && request.isContinued !== true);
        session.join(followed, missed.upTo, isSure ? missed.from : undefined);
      },
    });
    const already = session.follows.get(request.channel.key);
    // Another way in was faster; what it was asked for it has said.
    if (!isIn && request.isWanted === undefined && already !== undefined)
      answer(subscribed(session, already, { recovered: false, latest: already.freshLatest() }));
  }

  /**
   * The way that all take; `join` does what is special. False where another way in was faster, or it was not wanted
   * any more. @throws as `subscribe` does.
   */
  async enter(
    request: EntryRequest & {
      /** Reads what is needed beside; after permission was checked. */
      readonly prepare?: (followed: FollowedChannel) => Promise<void>;
      readonly join: (followed: FollowedChannel, missed: Replay) => void;
    },
  ): Promise<boolean> {
    const { session, channel, after, isContinued, budget, prepare, join } = request;
    const isUnwanted = (): boolean => session.follows.has(channel.key) || request.isWanted?.() === false;
    const { channels, broker, relations, isOver } = this.#options;
    const followed = channels.acquire(channel);
    try {
      await followed.active();
      const way = { isDone: false };
      while (!way.isDone && !isUnwanted()) {
        const { signals } = followed;
        const { principal } = session;
        const partEndsAtMs = await checkMayFollow(relations, session, channel, isContinued);
        await prepare?.(followed);
        await replay({
          broker,
          followed,
          after,
          framing: session.framing,
          ...(budget && { budget }),
          ...(isOver && { isOver }),
          whenCaughtUp: (missed) => {
            // Permission may have ended since it was checked, or the token changed: then it is checked again.
            const isChecked = followed.signals === signals && session.principal === principal;
            if (!isChecked || isUnwanted()) {
              budget?.giveBack(missed.bytes);
              return;
            }
            if (session.isEnded) throw new GatewayError("unavailable", "the connection is gone");
            followed.partEndsAtMs = Math.min(followed.partEndsAtMs, partEndsAtMs);
            join(followed, missed);
            way.isDone = true;
          },
        });
      }
      if (!way.isDone) channels.release(followed);
      return way.isDone;
    } catch (thrown) {
      channels.release(followed);
      throw thrown;
    }
  }
}

/**
 * Where a socket stands that has said where, and was given more since by a home that is gone: what comes again
 * after that is not given again.
 */
export function furthest(
  said: StreamPosition | undefined,
  given: StreamPosition | undefined,
): StreamPosition | undefined {
  if (said === undefined || given === undefined) return said;
  // A channel has no epoch before its first event.
  const isSameHistory = said.epoch === given.epoch || (said.epoch === "" && said.offset === 0);
  return isSameHistory && given.offset > said.offset ? given : said;
}

/** When the part ends by itself. @throws GatewayError permission_denied; unavailable while the directory cannot be asked. */
async function checkMayFollow(
  relations: Pick<Relations, "partOf">,
  session: Session,
  channel: Channel,
  isContinued = false,
): Promise<number> {
  const { principal } = session;
  let participation: Participation | undefined;
  try {
    if (needsPart(principal, channel)) participation = await relations.partOf(principal, channel);
  } catch (thrown) {
    if (isContinued && thrown instanceof PartUnknownError) return Infinity;
    throw thrown;
  }
  if (!may(principal, "join", channel, participation)) {
    throw new GatewayError("permission_denied", `${channel.name} is not yours to follow`, {
      field: "subscribe.channel",
    });
  }
  return participation?.expiresAtMs ?? Infinity;
}
