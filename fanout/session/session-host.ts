/**
 * The sessions that live on this fanout: opens them (new, or from another home with what the edge held),
 * passes their frames on, and ends them. It keeps the count of users, and acts on signals that concern
 * sessions: permissions that changed, users to disconnect.
 */
import { randomUUID } from "node:crypto";
import { CloseCode } from "#proto/close-codes.js";
import type {
  CloseSession,
  ConfirmPositions,
  OpenSession,
  Principal,
  SessionSnapshot,
  TokenVerified,
  UpFrame,
} from "#proto/gen/realtime/link/v1/link.js";
import { Signal, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { Allowances } from "#fanout/limits/allowances.js";
import type { FanoutLink } from "#fanout/link/fanout-link.js";
import type { Revocation } from "#fanout/revocation/revocation.js";
import type { WorkerAssignments } from "#fanout/location/worker-assignments.js";
import type { Relations } from "#fanout/policy/relations.js";
import type { PresenceKeeper } from "#fanout/presence/presence-keeper.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { FrameDispatcher } from "./frame-dispatcher.js";
import { LocalUsers } from "./local-users.js";
import type { MembershipCheck } from "./membership-check.js";
import type { OpeningQueue } from "./opening-queue.js";
import type { OwnFollowing } from "./own-following.js";
import type { RegistryKeeper } from "./registry-keeper.js";
import type { ResumableKeeper } from "./resumable-keeper.js";
import { ResumableRecord } from "./resumable-record.js";
import { Session } from "./session.js";
import type { SessionOpener } from "./session-opener.js";
import { SessionRefused } from "./session-refused.js";
import { channelsOf, readState, UNREADABLE } from "./session-state.js";
import { ENDED_MESSAGE } from "./handlers/devices.js";
import { REPLACED_MESSAGE, type SessionResumer } from "./session-resumer.js";
import type { TokenChecks } from "./token-checks.js";
import type { TokenWatch } from "./token-watch.js";

export interface SessionHostOptions {
  readonly channels: Channels;
  readonly registry: RegistryKeeper;
  readonly presence: PresenceKeeper;
  readonly resumables: ResumableKeeper;
  readonly assignments: WorkerAssignments;
  readonly allowances: Allowances;
  readonly dispatcher: FrameDispatcher;
  readonly opening: OpeningQueue<Session>;
  readonly opener: SessionOpener;
  readonly resumer: SessionResumer;
  readonly relations: Pick<Relations, "namesOf">;
  readonly membership: MembershipCheck;
  readonly ownFollowing: OwnFollowing;
  readonly tokens: TokenWatch;
  readonly tokenChecks: TokenChecks;
  /** Told of each session that begins here, new or resumed; not of one that another home had. */
  readonly onBegun?: (session: Session) => void;
  /** New sessions of a user beyond come back later: each costs the store as much as its user has. */
  readonly maxPerUser: number;
  readonly counters: FanoutCounters;
  readonly logger: Logger;
}

/** Who said that they resume and do not are new after so long. */
const FIRST_FRAME_MS = 5000;
const RETRY_AFTER_MESSAGE = "the store is away; reconnect in a moment";
const TOO_MANY_MESSAGE = "too many connect at once; reconnect in a moment";
const TOO_MANY_OF_USER_MESSAGE = "too many of this user connect at once; reconnect in a moment";

export class SessionHost {
  readonly #options: SessionHostOptions;
  readonly #byLink = new Map<FanoutLink, Map<number, Session>>();
  readonly #users: LocalUsers;
  #sessions = 0;

  constructor(options: SessionHostOptions) {
    this.#options = options;
    this.#users = new LocalUsers(options);
  }

  get sessions(): number {
    return this.#sessions;
  }

  get users(): number {
    return this.#users.size;
  }

  open(link: FanoutLink, open: OpenSession): void {
    const { principal } = open;
    const snapshot = readState(open.state);
    if (principal === undefined || snapshot === UNREADABLE) {
      this.#options.logger.error({ edge: link.edgeId, connectionId: open.connectionId }, "not a session");
      closeUnopened(link, open, CloseCode.INTERNAL, "the session cannot be opened");
      return;
    }
    const ofUser = this.#users.of(principal.app, principal.userId);
    if (snapshot === undefined && ofUser.size >= this.#options.maxPerUser) {
      this.#options.counters.sessionsRefused += 1;
      closeUnopened(link, open, CloseCode.OVERLOADED, TOO_MANY_OF_USER_MESSAGE);
      return;
    }
    const session = new Session({
      link,
      open,
      principal,
      resumable: new ResumableRecord({
        app: principal.app,
        userId: principal.userId,
        connectionId: open.connectionId,
        sessionId: snapshot?.sessionId ?? randomUUID(),
        generation: snapshot?.generation ?? 1,
        isGenerationConfirmed: snapshot?.isGenerationConfirmed ?? false,
      }),
      allowance: this.#options.allowances.enter(principal),
      sampleCounter: snapshot?.sampleCounter ?? 0,
      declined: snapshot?.declinedChannels ?? [],
      handle: this.#options.dispatcher.handle,
    });
    if (snapshot?.lastLocation) session.locationTrack = { accepted: snapshot.lastLocation, doubts: 0 };
    session.resumable.onReplaced = () => session.close(CloseCode.REPLACED, REPLACED_MESSAGE);
    // Where the word of it was lost, or the session was on its way to another home.
    session.resumable.onRemoved = () => session.close(CloseCode.KICKED, ENDED_MESSAGE);
    session.onFollowing = this.#options.presence.followingOf(session);
    this.#add(session);
    // What is said to the user of a live socket must be heard also while it waits; a new one is not there yet.
    if (snapshot !== undefined) this.#users.hear(session);
    void this.#enqueue(session, snapshot);
  }

  frame(link: FanoutLink, frame: UpFrame): void {
    this.#byLink.get(link)?.get(frame.session)?.take(frame);
  }

  /** A socket has what was written to it. */
  confirm(link: FanoutLink, { session: number, positions }: ConfirmPositions): void {
    this.#byLink.get(link)?.get(number)?.confirm(positions);
  }

  /** An edge has checked a token. */
  verified(link: FanoutLink, verified: TokenVerified): void {
    const session = this.#byLink.get(link)?.get(verified.session);
    if (session !== undefined) this.#options.tokenChecks.answered(session, verified);
  }

  /** A session goes on with another token. */
  refreshed(session: Session, before: Principal): void {
    const { tokens, opener, membership } = this.#options;
    tokens.refreshed(session, before);
    opener.register(session).catch(() => this.#storeFailed());
    if (session.principal.claimsJson === before.claimsJson) return;
    // What it takes part as may be another one.
    this.#users.refreshed(session);
    for (const { channel } of session.follows.values()) void membership.check(channel, [session]);
    this.#options.ownFollowing.changed([session]);
  }

  /** These tokens count no more. */
  revoked(revocations: readonly Revocation[]): void {
    this.#options.tokens.revoked(revocations, (app, userId) => this.#users.of(app, userId));
  }

  close(link: FanoutLink, { session: number }: CloseSession): void {
    const session = this.#byLink.get(link)?.get(number);
    if (session === undefined) return;
    if (session.isAwaitingFirst || (this.#options.opening.isWaiting(session) && session.hasAskedNothing)) {
      this.#leave(session);
      return;
    }
    // Who sends something and leaves has sent it.
    session.silence();
    session.whenIdle(() => this.#leave(session));
  }

  /** Its socket is gone: nothing stays written of it, neither by this home nor by an earlier one. */
  #leave(session: Session): void {
    const { opener, presence, registry } = this.#options;
    const snapshot = session.record === undefined ? readState(session.open.state) : undefined;
    const isLeftByEarlierHome = snapshot !== undefined && snapshot !== UNREADABLE;
    const record = isLeftByEarlierHome ? opener.recordOf(session) : session.record;
    presence.gone(
      session,
      isLeftByEarlierHome ? channelsOf(snapshot, session.principal.app) : session.channels,
    );
    this.#remove(session);
    if (record !== undefined) registry.remove(record).catch(() => this.#storeFailed());
  }

  /** Gives a session back to its edge, after everything that it sent is dealt with. */
  release(link: FanoutLink, number: number): void {
    const session = this.#byLink.get(link)?.get(number);
    if (session === undefined) return;
    const release = (): void => {
      if (session.isEnded) return;
      link.flushAcknowledged();
      // What was not open here is opened by the next home with what this one was given.
      const state = session.isOpen ? session.snapshot() : session.open.state;
      this.#options.presence.moved(session);
      this.#remove(session);
      this.#options.counters.sessionsReleased += 1;
      link.send({ $case: "released", value: { session: number, state } });
    };
    if (session.isAwaitingFirst || this.#options.opening.isWaiting(session)) release();
    else session.whenIdle(release);
  }

  /** The edge is gone, or has taken its sessions elsewhere: their records are left to their new homes. */
  linkEnded(link: FanoutLink): void {
    const { presence } = this.#options;
    for (const session of this.#byLink.get(link)?.values() ?? []) {
      presence.moved(session);
      this.#remove(session);
    }
    this.#byLink.delete(link);
    presence.linkEnded(link);
  }

  /** A word about a channel that this fanout follows. */
  signal(channel: Channel, bytes: Uint8Array): void {
    const signal = Signal.decode(bytes);
    switch (signal.kind) {
      case SignalKind.SIGNAL_KIND_MEMBERS_CHANGED:
        this.membersChanged(channel);
        return;
      case SignalKind.SIGNAL_KIND_DISCONNECT:
        if (channel.kind === "user") this.#disconnect(channel, signal);
        return;
      default:
        return;
    }
  }

  /** Who takes part in the channel, or what the user takes part in, has changed or may have. */
  membersChanged(channel: Channel): void {
    if (channel.kind !== "user") {
      void this.#options.membership.check(channel, this.#followersOf(channel));
      return;
    }
    this.#options.assignments.changed(channel.app, channel.id);
    const sessions = this.#users.of(channel.app, channel.id);
    this.#options.membership.checkWatched(sessions);
    this.#options.ownFollowing.changed(sessions);
  }

  #disconnect(channel: Channel, signal: Signal): void {
    for (const session of this.#users.of(channel.app, channel.id)) {
      if (signal.connectionId !== "" && signal.connectionId !== session.connectionId) continue;
      if (signal.endsSession) this.#options.resumables.drop(session.resumable);
      session.close(signal.closeCode, signal.reason);
    }
  }

  /** Has the records of all sessions that live here written again. */
  refreshRecords(): void {
    for (const sessions of this.#byLink.values()) {
      const records = [...sessions.values()].flatMap(({ record }) => record ?? []);
      this.#options.registry.refresh(records);
      this.#options.presence.refresh(sessions.values());
      this.#options.resumables.refresh([...sessions.values()].map(({ resumable }) => resumable));
    }
  }

  /** Checks followers again whose part in a channel was to end by now. */
  checkExpired(nowMs: number): void {
    for (const followed of this.#options.channels.all()) {
      if (followed.partEndsAtMs > nowMs) continue;
      followed.partEndsAtMs = Infinity;
      this.membersChanged(followed.channel);
    }
  }

  #followersOf(channel: Channel): readonly Session[] {
    const followers = this.#options.channels.get(channel)?.followers ?? [];
    return [...followers].filter((follower): follower is Session => follower instanceof Session);
  }

  /** Has it opened in its turn. */
  async #enqueue(session: Session, snapshot: SessionSnapshot | undefined): Promise<void> {
    const { opening, counters } = this.#options;
    const { awaitsResume, nextUpSequence } = session.open;
    // Where the first frame was dealt with by an earlier home, there is nothing to wait for.
    const isAwaited = snapshot === undefined && awaitsResume && nextUpSequence === 1;
    // Before its turn, which others would wait for as long.
    const first = isAwaited ? await session.firstFrame(FIRST_FRAME_MS) : undefined;
    if (session.isEnded) return;
    const begin = () => this.#begin(session, snapshot, first);
    if (opening.enter(session, { isLive: snapshot !== undefined, begin })) return;
    counters.sessionsRefused += 1;
    this.#giveUp(session, TOO_MANY_MESSAGE);
  }

  async #begin(
    session: Session,
    snapshot: SessionSnapshot | undefined,
    first: UpFrame | undefined,
  ): Promise<void> {
    const { opener, counters, logger, tokens } = this.#options;
    try {
      await tokens.admit(session, snapshot === undefined ? "new" : "live");
      // Its socket has closed meanwhile, and it was for nothing.
      if (snapshot === undefined && session.isSilent && session.hasAskedNothing) {
        this.#leave(session);
        return;
      }
      let isNew = false;
      if (snapshot === undefined) isNew = (await this.#open(session, first)) === "new";
      else {
        await opener.restore(session, snapshot);
        counters.sessionsRestored += 1;
      }
      if (session.isEnded) return;
      if (!session.isSilent) this.#options.presence.registered(session);
      session.begin();
      this.#options.ownFollowing.begin(session, { isNew });
      if (snapshot === undefined) this.#options.onBegun?.(session);
    } catch (error) {
      if (session.isEnded) return;
      if (error instanceof SessionRefused) {
        refuse(session, error, snapshot === undefined ? session.open.replyTo : undefined);
        return;
      }
      this.#storeFailed();
      logger.warn({ err: error, connectionId: session.connectionId }, "a session could not be opened");
      this.#giveUp(session, RETRY_AFTER_MESSAGE);
    }
  }

  /** Opens a session that has no home yet: a new one, or with its first frame one that is continued. */
  async #open(session: Session, first: UpFrame | undefined): Promise<"new" | "resumed"> {
    const { opener, resumer, counters } = this.#options;
    this.#users.hear(session);
    const outcome = first === undefined ? "not asked for" : await resumer.resume(session, first);
    if (outcome === "resumed") {
      counters.sessionsResumed += 1;
      return "resumed";
    }
    await opener.openNew(session, outcome === "refused" ? 0 : session.open.replyTo);
    counters.sessionsOpened += 1;
    return "new";
  }

  #giveUp(session: Session, reason: string): void {
    session.close(CloseCode.OVERLOADED, reason);
    session.fail();
  }

  #add(session: Session): void {
    const sessions = this.#byLink.get(session.link) ?? new Map<number, Session>();
    this.#byLink.set(session.link, sessions);
    const older = sessions.get(session.number);
    if (older !== undefined) this.#remove(older);
    sessions.set(session.number, session);
    this.#options.tokens.arrived(session);
    this.#users.add(session);
    this.#sessions += 1;
  }

  #remove(session: Session): void {
    if (!this.#byLink.get(session.link)?.delete(session.number)) return;
    this.#sessions -= 1;
    this.#options.opening.leave(session);
    for (const followed of session.follows.values()) {
      session.link.forget(session, followed);
      followed.followers.delete(session);
      this.#options.channels.release(followed);
    }
    session.follows.clear();
    session.end();
    this.#options.tokens.left(session);
    session.resumable.onReplaced = undefined;
    session.resumable.onRemoved = undefined;
    this.#options.resumables.flush(session.resumable);
    this.#options.allowances.leave(session.principal);
    const { app, userId } = session.principal;
    if (this.#users.remove(session)) this.#options.assignments.forget(app, userId);
  }

  #storeFailed(): void {
    this.#options.counters.storeFailures += 1;
  }
}

/** `replyTo`: absent where the client takes the session for open. */
function refuse(session: Session, error: SessionRefused, replyTo: number | undefined): void {
  if (replyTo !== undefined) session.send({ replyTo, body: { $case: "error", value: error.toMessage() } });
  session.close(error.closeCode, error.message);
  session.fail();
}

function closeUnopened(link: FanoutLink, { session }: OpenSession, code: number, reason: string): void {
  link.send({ $case: "close", value: { session, code, reason } });
}
