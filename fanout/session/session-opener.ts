/**
 * Opens a session: a new one is registered, joined to its user's channel and welcomed; one from another
 * home gets its channels back, with what it missed on the way, and says nothing to the client. A session
 * that lives already survives a store that is away; a new one does not begin without it.
 */
import { UnsubscribeReason, type Welcome } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import { GatewayError } from "#proto/errors.js";
import { parseChannelName, userChannel, type Channel } from "#fanout/channel/channel.js";
import type { StreamPosition } from "#fanout/channel/broker.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { Replay } from "#fanout/channel/replay.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { StoreClock } from "../store-clock.js";
import type { ChannelEntry } from "./channel-entry.js";
import type { RegistryKeeper } from "./registry-keeper.js";
import type { ResumableKeeper } from "./resumable-keeper.js";
import type { ResumeKeys } from "./resume-keys.js";
import { signResumeToken } from "./resume-token.js";
import type { Session } from "./session.js";
import { subscribed, unsubscribed } from "./subscription-frames.js";

/** How long a session from another home waits for a store that does not answer, before it is told of a loss. */
const STORE_PATIENCE_MS = 10_000;
const STORE_RETRY_MS = 250;

export interface SessionOpenerOptions {
  readonly fanoutId: string;
  readonly channels: Channels;
  readonly entry: ChannelEntry;
  readonly registry: RegistryKeeper;
  readonly resumables: ResumableKeeper;
  readonly resumeKeys: ResumeKeys;
  readonly clock: StoreClock;
  readonly counters: FanoutCounters;
}

export class SessionOpener {
  readonly #options: SessionOpenerOptions;

  constructor(options: SessionOpenerOptions) {
    this.#options = options;
  }

  /** @throws GatewayError unavailable while the store is away. */
  async openNew(session: Session, replyTo: number): Promise<void> {
    const { channels, resumables } = this.#options;
    const own = channels.acquire(userChannel(session.principal.app, session.principal.userId));
    session.resumable.at(this.#options.clock.nowUs());
    // Where nobody of this user was here before, the position is not known before the record is made.
    session.resumable.follow(own.channel.name, own.position);
    try {
      await Promise.all([own.active(), this.register(session), resumables.create(session.resumable)]);
      if (session.isEnded) throw new GatewayError("unavailable", "the connection is gone");
    } catch (thrown) {
      channels.release(own);
      throw thrown;
    }
    session.send({
      replyTo,
      body: { $case: "welcome", value: this.welcome(session, { resumed: false }) },
    });
    session.send({ replyTo: 0, body: subscribed(own, { recovered: false, latest: [] }) });
    session.join(own, own.position, own.position);
    session.opened();
  }

  async restore(session: Session, snapshot: SessionSnapshot): Promise<void> {
    const { clock, counters, resumables } = this.#options;
    session.resumable.at(clock.nowUs());
    session.resumable.inherit(snapshot.channels);
    // The records serve others' questions and later connections; the session does not wait for them.
    this.register(session).catch(() => (counters.storeFailures += 1));
    // A home of the release before this one has given no token, and saved nothing.
    if (snapshot.generation > 0) resumables.keep(session.resumable);
    await Promise.all(
      [...new Set(snapshot.channels)].map((name) =>
        this.#restoreChannel(session, parseChannelName(session.principal.app, name, "")),
      ),
    );
    // When an earlier home welcomed it is not known; what the socket sends from here on came after it.
    session.welcomed(clock.nowUs());
    session.opened();
  }

  /** Lets others know of the connection. @throws GatewayError unavailable; then it is done later. */
  async register(session: Session): Promise<void> {
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

  /** What is said first; from here on the session counts as welcomed. */
  welcome(session: Session, { resumed }: { readonly resumed: boolean }): Welcome {
    const { principal, open, link, resumable } = session;
    const { clock, resumeKeys } = this.#options;
    const nowUs = clock.nowUs();
    session.welcomed(nowUs);
    return {
      connectionId: session.connectionId,
      sessionId: session.sessionId,
      userId: principal.userId,
      role: principal.role,
      serverId: link.edgeId,
      resumeToken: signResumeToken(resumeKeys.signing, principal, resumable),
      tokenExpiresAtMs: principal.expiresAt * 1000,
      heartbeatIntervalMs: open.heartbeatIntervalMs,
      serverTimeMs: Math.floor(nowUs / 1000),
      resumed,
    };
  }

  async #restoreChannel(session: Session, channel: Channel): Promise<void> {
    const { channels, entry } = this.#options;
    const after = session.open.positions[channel.name];
    const join = (followed: FollowedChannel, missed: Replay): void =>
      this.#rejoin(session, { followed, missed, hadPosition: after !== undefined });
    const patientUntilMs = performance.now() + STORE_PATIENCE_MS;
    for (;;) {
      try {
        await entry.enter({ session, channel, after, join });
        return;
      } catch (thrown) {
        if (session.isEnded) return;
        if (!(thrown instanceof GatewayError) || thrown.kind !== "unavailable") {
          session.resumable.unfollow(channel.name);
          const reason = UnsubscribeReason.UNSUBSCRIBE_REASON_PERMISSION_ENDED;
          session.send({ replyTo: 0, body: unsubscribed(channel, reason) });
          return;
        }
      }
      const followed = channels.acquire(channel);
      if (this.#joinWithoutStore(session, followed, after)) return;
      if (performance.now() >= patientUntilMs) {
        this.#tellMissed(session, followed, followed.position);
        session.join(followed, followed.position);
        return;
      }
      channels.release(followed);
      await new Promise((resolve) => setTimeout(resolve, STORE_RETRY_MS));
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

  /**
   * The store is away: live events of this process flow at once, and what was missed when it is back. False where
   * the channel has moved on here without the session: only the store has what lies between.
   */
  #joinWithoutStore(session: Session, followed: FollowedChannel, after: StreamPosition | undefined): boolean {
    if (after !== undefined && !followed.owe(after)) return false;
    session.join(followed, after);
    return true;
  }
}
