/**
 * Opens a session: a new one is registered, joined to its user's channel and welcomed; one from another
 * home gets its channels back, with what it missed on the way, and says nothing to the client. A session
 * that lives already survives a store that is away: it goes on, while channels that need the store are still on
 * their way in; a new one does not begin without it.
 */
import { UnsubscribeReason, type Welcome } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Principal, SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import type { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import { GatewayError } from "#proto/errors.js";
import { parseChannelName, userChannel, type Channel } from "#fanout/channel/channel.js";
import { isBeforeHistory, type StreamPosition } from "#fanout/channel/broker.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { Replay } from "#fanout/channel/replay.js";
import type { Directory } from "#fanout/directory/directory.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { StoreClock } from "../store-clock.js";
import type { ChannelEntry } from "./channel-entry.js";
import type { RegistryKeeper } from "./registry-keeper.js";
import type { SessionLimit } from "./session-limit.js";
import type { ResumableKeeper } from "./resumable-keeper.js";
import type { ResumeKeys } from "./resume-keys.js";
import { signResumeToken } from "./resume-token.js";
import type { Session } from "./session.js";
import { SessionRefused } from "./session-refused.js";
import { subscribed, unsubscribed } from "./subscription-frames.js";

/** How long a session from another home waits for a store that does not answer, before it is told of a loss. */
const STORE_PATIENCE_MS = 10_000;
const STORE_RETRY_MS = 250;
/** Its frames are dealt with after so long, also where a channel could not be entered by then. */
const BEGIN_WITHIN_MS = 1000;

export interface SessionOpenerOptions {
  readonly fanoutId: string;
  readonly channels: Channels;
  readonly entry: ChannelEntry;
  readonly directory: Pick<Directory, "recordOf">;
  readonly registry: RegistryKeeper;
  readonly limit: SessionLimit;
  readonly resumables: ResumableKeeper;
  readonly resumeKeys: ResumeKeys;
  readonly clock: StoreClock;
  readonly counters: FanoutCounters;
  /** What a user with an account follows beside their own channel. Default: nothing. */
  readonly broadcasts?: (principal: Principal) => readonly Channel[];
}

/** A channel of a session from another home, on its way in. */
interface Arrival {
  readonly session: Session;
  readonly channel: Channel;
  /** Where the socket stands. */
  readonly after: StreamPosition | undefined;
  readonly patientUntilMs: number;
  readonly isOver: () => boolean;
}

export class SessionOpener {
  readonly #options: SessionOpenerOptions;

  constructor(options: SessionOpenerOptions) {
    this.#options = options;
  }

  /** @throws GatewayError unavailable while the store is away. */
  async openNew(session: Session, replyTo: number): Promise<void> {
    const { channels, resumables } = this.#options;
    if (session.capability === "anonymous") {
      await this.#openAnonymous(session, replyTo);
      return;
    }
    const own = channels.acquire(userChannel(session.principal.app, session.principal.userId));
    // Most often followed already: then they cost no look at the store.
    const broadcasts = this.broadcastsOf(session).map((channel) => channels.acquire(channel));
    session.resumable.at(this.#options.clock.nowUs());
    try {
      await this.admit(session);
      // Whoever is new can begin while nothing can be heard for everyone: it is heard once it can be.
      await Promise.all([own.active(), Promise.allSettled(broadcasts.map((each) => each.active()))]);
      // With the positions, or it would be saved once more a moment later.
      for (const each of [own, ...broadcasts]) session.resumable.follow(each.channel.name, each.position);
      await resumables.create(session.resumable);
      if (session.isEnded) throw new GatewayError("unavailable", "the connection is gone");
    } catch (thrown) {
      for (const each of [own, ...broadcasts]) channels.release(each);
      throw thrown;
    }
    session.send({
      replyTo,
      body: { $case: "welcome", value: this.welcome(session, { resumed: false }) },
    });
    for (const each of [own, ...broadcasts]) {
      session.send({
        replyTo: 0,
        body: subscribed(session, each, { recovered: false, latest: each.freshLatest() }),
      });
      session.join(each, each.position, each.position);
    }
    session.opened();
  }

  /** Those that this session follows because of its role. */
  broadcastsOf({ principal, capability }: Session): readonly Channel[] {
    return capability === "anonymous" ? [] : (this.#options.broadcasts?.(principal) ?? []);
  }

  /** Lets the session go on from where the channel stands, whatever it missed, and says so. */
  joinWithLoss(session: Session, channel: Channel): void {
    const followed = this.#options.channels.acquire(channel);
    this.#tellMissed(session, followed, followed.position);
    session.join(followed, followed.position);
  }

  /** Nobody's session has no channel of its own, and nothing of it is kept for a resume. */
  async #openAnonymous(session: Session, replyTo: number): Promise<void> {
    session.resumable.at(this.#options.clock.nowUs());
    await this.admit(session);
    if (session.isEnded) throw new GatewayError("unavailable", "the connection is gone");
    const welcome = this.welcome(session, { resumed: false });
    session.send({ replyTo, body: { $case: "welcome", value: welcome } });
    session.opened();
  }

  /** Resolves when the session can begin: it is in its channels, or a store that does not answer is asked on beside. */
  async restore(session: Session, snapshot: SessionSnapshot): Promise<void> {
    const { clock, counters, resumables } = this.#options;
    const { app } = session.principal;
    const channels = [...new Set(snapshot.channels)].map((name) => parseChannelName(app, name, ""));
    // Clocks of two homes may differ by more than the way took: the later home's stamp must be the later one.
    session.resumable.at(Math.max(clock.nowUs(), snapshot.homeStampUs + 1));
    session.resumable.inherit(snapshot.channels);
    session.connectedAtMs = snapshot.connectedAtMs;
    if (snapshot.enteredChannel !== "")
      session.lastEntry = { channel: snapshot.enteredChannel, upSequence: snapshot.enteredUpSequence };
    // The records serve others' questions and later connections; the session does not wait for them.
    this.register(session).catch(() => (counters.storeFailures += 1));
    // A home of the release before this one has given no token, and saved nothing.
    if (snapshot.generation > 0 && session.capability !== "anonymous")
      resumables.keepLater(session.resumable);
    const tried = channels.map((channel) => this.#arrive(session, channel));
    await within(BEGIN_WITHIN_MS, Promise.all(tried));
    // The earlier home's state was behind its welcome, and so is every ping that is written from here on.
    session.welcomed();
    session.opened();
  }

  /** Lets others know of the connection. @throws GatewayError unavailable; then it is done later. */
  async register(session: Session): Promise<void> {
    await this.#options.registry.put(this.recordOf(session));
  }

  /** As `register`, for a connection that is new: its user may have too many. @throws SessionRefused too. */
  async admit(session: Session): Promise<void> {
    try {
      await this.#options.limit.admit(this.recordOf(session), () => session.isSilent);
    } catch (thrown) {
      if (thrown instanceof SessionRefused) session.record = undefined;
      throw thrown;
    }
  }

  /** Its entry in the registry, as of now: newer than what an earlier home has written. */
  recordOf(session: Session): SessionRecord {
    const { clock, fanoutId } = this.#options;
    const { open, principal, link } = session;
    const nowUs = clock.nowUs();
    if (session.connectedAtMs === 0) session.connectedAtMs = Math.floor(nowUs / 1000);
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
      connectedAtMs: session.connectedAtMs,
      generation: nowUs,
      tokenId: principal.tokenId,
    };
    return session.record;
  }

  /** What is said first; from here on the session counts as welcomed. */
  welcome(session: Session, { resumed }: { readonly resumed: boolean }): Welcome {
    const { principal, open, link, resumable } = session;
    const { clock, resumeKeys } = this.#options;
    const nowUs = clock.nowUs();
    session.welcomed();
    return {
      connectionId: session.connectionId,
      sessionId: session.sessionId,
      userId: principal.userId,
      role: principal.role,
      serverId: link.edgeId,
      resumeToken:
        session.capability === "anonymous" ? "" : signResumeToken(resumeKeys.signing, principal, resumable),
      tokenExpiresAtMs: principal.expiresAt * 1000,
      heartbeatIntervalMs: open.heartbeatIntervalMs,
      serverTimeMs: Math.floor(nowUs / 1000),
      resumed,
    };
  }

  /** Brings the session into a channel. Resolves when that was tried once; then it is tried on beside. */
  #arrive(session: Session, channel: Channel): Promise<unknown> {
    const arrival: Arrival = {
      session,
      channel,
      after: session.open.positions[channel.name],
      patientUntilMs: performance.now() + STORE_PATIENCE_MS,
      // Ended, unsubscribed, or in.
      isOver: () => session.isEnded || session.arriving.get(channel.key) !== arriving,
    };
    const tried = this.#tryToEnter(arrival);
    const settled = tried.then((isOver) => (isOver ? undefined : this.#keepTrying(arrival)));
    const arriving = { channel, settled };
    session.arriving.set(channel.key, arriving);
    return tried;
  }

  async #keepTrying(arrival: Arrival): Promise<void> {
    const { session, channel, patientUntilMs, isOver } = arrival;
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, STORE_RETRY_MS));
      if (isOver() || (await this.#tryToEnter(arrival))) return;
      if (performance.now() >= patientUntilMs) break;
    }
    this.joinWithLoss(session, channel);
    session.saveState();
  }

  /** False where it is to be tried again. */
  async #tryToEnter({ session, channel, after, isOver }: Arrival): Promise<boolean> {
    const { channels, entry, directory } = this.#options;
    let isOutlived = false;
    try {
      await entry.enter({
        session,
        channel,
        after,
        isContinued: true,
        prepare: async (followed) => {
          if (after === undefined || !hasNoHistory(followed.position)) return;
          // Where the socket stood a moment ago is no more: its time was over, unless the store has lost it.
          isOutlived = (await directory.recordOf(channel)).isComplete;
        },
        join: (followed, missed) => {
          if (isOver()) throw new GatewayError("unavailable", "the channel is not wanted any more");
          const isWhole = missed.isComplete || (isOutlived && hasNoHistory(missed.upTo));
          this.#rejoin(session, { followed, missed, isWhole });
        },
      });
      return true;
    } catch (thrown) {
      if (isOver()) return true;
      if (!(thrown instanceof GatewayError) || thrown.kind !== "unavailable") {
        session.arriving.delete(channel.key);
        session.resumable.unfollow(channel.name);
        const reason = UnsubscribeReason.UNSUBSCRIBE_REASON_PERMISSION_ENDED;
        session.send({ replyTo: 0, body: unsubscribed(channel, reason) });
        session.saveState();
        return true;
      }
    }
    const followed = channels.acquire(channel);
    if (this.#joinWithoutStore(session, followed, after)) return true;
    channels.release(followed);
    return false;
  }

  #rejoin(session: Session, entry: { followed: FollowedChannel; missed: Replay; isWhole: boolean }): void {
    const { followed, missed, isWhole } = entry;
    const { name } = followed.channel;
    if (!isWhole) {
      forgetEntry(session, name);
      if (session.open.positions[name] !== undefined) this.#tellMissed(session, followed, missed.from);
    }
    for (const event of missed.events) session.sendMissed(followed, event);
    // A value may have come while the session had no home.
    for (const value of followed.freshLatest()) session.sendLatest(followed, value);
    session.join(followed, missed.upTo);
  }

  #tellMissed(session: Session, followed: FollowedChannel, position: StreamPosition | undefined): void {
    forgetEntry(session, followed.channel.name);
    session.send({
      replyTo: 0,
      body: subscribed(session, followed, { recovered: false, latest: [], position }),
    });
  }

  /**
   * The store is away: live events of this process flow at once, and what was missed when it is back. False where
   * the channel has moved on here without the session: only the store has what lies between.
   */
  #joinWithoutStore(session: Session, followed: FollowedChannel, after: StreamPosition | undefined): boolean {
    if (after !== undefined && !followed.owe(after)) return false;
    forgetEntry(session, followed.channel.name);
    session.join(followed, after);
    return true;
  }
}

/** Whether the session has all of the channel behind that subscribe is not known any more. */
function forgetEntry(session: Session, channel: string): void {
  if (session.lastEntry?.channel !== channel) return;
  session.lastEntry = undefined;
  session.saveState();
}

function hasNoHistory(position: StreamPosition | undefined): boolean {
  return position !== undefined && isBeforeHistory(position);
}

/** Waits for it, but not for longer. */
async function within(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs).unref()));
  await Promise.race([work, timeout]);
  clearTimeout(timer);
}
