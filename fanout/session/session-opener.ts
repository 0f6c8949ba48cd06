/**
 * Opens a session: a new one is registered, joined to its user's channel and welcomed; one from another
 * home gets its channels back, with what it missed on the way, and says nothing to the client. A session
 * that lives already survives a store that is away; a new one does not begin without it.
 */
import { UnsubscribeReason, type Welcome } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import { GatewayError } from "#proto/errors.js";
import { parseChannelName, userChannel, type Channel } from "#fanout/channel/channel.js";
import type { Broker, StreamPosition } from "#fanout/channel/broker.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import { replay, type Replay } from "#fanout/channel/replay.js";
import type { Directory } from "#fanout/directory/directory.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { StoreClock } from "../store-clock.js";
import { checkMayFollow, subscribed, unsubscribed } from "./handlers/subscribe.js";
import type { Session } from "./session.js";
import type { RegistryKeeper } from "./registry-keeper.js";

export interface SessionOpenerOptions {
  readonly fanoutId: string;
  readonly channels: Channels;
  readonly broker: Broker;
  readonly directory: Directory;
  readonly registry: RegistryKeeper;
  readonly clock: StoreClock;
  readonly counters: FanoutCounters;
}

export class SessionOpener {
  readonly #options: SessionOpenerOptions;

  constructor(options: SessionOpenerOptions) {
    this.#options = options;
  }

  /** @throws GatewayError unavailable while the store is away. */
  async openNew(session: Session): Promise<void> {
    const { channels } = this.#options;
    const own = channels.acquire(userChannel(session.principal.app, session.principal.userId));
    try {
      await Promise.all([own.active(), this.#register(session)]);
      if (session.isEnded) throw new GatewayError("unavailable", "the connection is gone");
    } catch (thrown) {
      channels.release(own);
      throw thrown;
    }
    session.send({
      replyTo: session.open.replyTo,
      body: { $case: "welcome", value: this.#welcome(session) },
    });
    session.send({ replyTo: 0, body: subscribed(own, { recovered: false, latest: [] }) });
    session.join(own, own.position);
    session.saveState();
  }

  async restore(session: Session, snapshot: SessionSnapshot): Promise<void> {
    // The record serves others' questions; the session does not wait for it.
    this.#register(session).catch(() => (this.#options.counters.storeFailures += 1));
    await Promise.all(
      [...new Set(snapshot.channels)].map((name) =>
        this.#restoreChannel(session, parseChannelName(session.principal.app, name, "")),
      ),
    );
    session.saveState();
  }

  async #restoreChannel(session: Session, channel: Channel): Promise<void> {
    const { channels, directory, broker } = this.#options;
    const after = session.open.positions[channel.name];
    const followed = channels.acquire(channel);
    try {
      await followed.active();
      while (!session.follows.has(channel.key)) {
        const { signals } = followed;
        const partEndsAtMs = await checkMayFollow(directory, session, channel);
        await replay({
          broker,
          followed,
          after,
          whenCaughtUp: (missed) => {
            // Permission may have ended since it was checked: then it is checked again.
            if (followed.signals === signals && !session.isEnded) {
              followed.partEndsAtMs = Math.min(followed.partEndsAtMs, partEndsAtMs);
              this.#rejoin(session, { followed, missed, hadPosition: after !== undefined });
            }
          },
        });
        if (session.isEnded) {
          channels.release(followed);
          return;
        }
      }
    } catch (thrown) {
      if (session.isEnded || !(thrown instanceof GatewayError) || thrown.kind !== "unavailable") {
        channels.release(followed);
        if (!session.isEnded) this.#tellEnded(session, channel);
        return;
      }
      this.#joinWithoutStore(session, followed, after);
    }
  }

  #rejoin(
    session: Session,
    entry: { followed: FollowedChannel; missed: Replay; hadPosition: boolean },
  ): void {
    const { followed, missed, hadPosition } = entry;
    if (hadPosition && !missed.isComplete) this.#tellMissed(session, followed, missed.from);
    for (const event of missed.events) session.sendMissed(followed, event);
    // A value may have come while the session had no home.
    for (const value of followed.freshLatest()) session.sendLatest(followed, value);
    session.join(followed, missed.upTo);
  }

  #tellMissed(session: Session, followed: FollowedChannel, position: StreamPosition | undefined): void {
    session.send({ replyTo: 0, body: subscribed(followed, { recovered: false, latest: [], position }) });
  }

  /** The store is away: live events of this process flow at once, and what was missed when it is back. */
  #joinWithoutStore(session: Session, followed: FollowedChannel, after: StreamPosition | undefined): void {
    const isOwed = after === undefined || followed.owe(after);
    if (!isOwed) this.#tellMissed(session, followed, followed.position);
    session.join(followed, isOwed ? after : followed.position);
  }

  #tellEnded(session: Session, channel: Channel): void {
    const body = unsubscribed(channel, UnsubscribeReason.UNSUBSCRIBE_REASON_PERMISSION_ENDED);
    session.send({ replyTo: 0, body });
  }

  async #register(session: Session): Promise<void> {
    const { registry, clock, fanoutId } = this.#options;
    const { open, principal, link } = session;
    const nowUs = clock.nowUs();
    session.record = {
      sessionId: session.sessionId,
      connectionId: session.connectionId,
      app: principal.app,
      userId: principal.userId,
      role: principal.role,
      deviceId: open.deviceId,
      platform: open.platform,
      edgeIncarnation: link.edgeIncarnation,
      fanoutId,
      connectedAtMs: Math.floor(nowUs / 1000),
      generation: nowUs,
    };
    await registry.put(session.record);
  }

  #welcome(session: Session): Welcome {
    const { principal, open, link } = session;
    return {
      connectionId: session.connectionId,
      sessionId: session.sessionId,
      userId: principal.userId,
      role: principal.role,
      serverId: link.edgeId,
      resumeToken: "",
      tokenExpiresAtMs: principal.expiresAt * 1000,
      heartbeatIntervalMs: open.heartbeatIntervalMs,
      serverTimeMs: Math.floor(this.#options.clock.nowUs() / 1000),
      resumed: false,
    };
  }
}
