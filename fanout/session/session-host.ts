/**
 * The sessions that live on this fanout: opens them (new, or from another home with what the edge held),
 * passes their frames on, and ends them. It keeps the count of users, and acts on signals that concern
 * sessions: permissions that changed, users to disconnect.
 */
import { randomUUID } from "node:crypto";
import { CloseCode } from "#proto/close-codes.js";
import {
  SessionSnapshot,
  type CloseSession,
  type ConfirmPositions,
  type OpenSession,
  type UpFrame,
} from "#proto/gen/realtime/link/v1/link.js";
import { Signal, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { FanoutLink } from "#fanout/link/fanout-link.js";
import type { WorkerAssignments } from "#fanout/location/worker-assignments.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { FrameDispatcher } from "./frame-dispatcher.js";
import type { MembershipCheck } from "./membership-check.js";
import type { RegistryKeeper } from "./registry-keeper.js";
import type { ResumableKeeper } from "./resumable-keeper.js";
import { ResumableRecord } from "./resumable-record.js";
import { Session } from "./session.js";
import type { SessionOpener } from "./session-opener.js";
import { REPLACED_MESSAGE, type SessionResumer } from "./session-resumer.js";

export interface SessionHostOptions {
  readonly channels: Channels;
  readonly registry: RegistryKeeper;
  readonly resumables: ResumableKeeper;
  readonly assignments: WorkerAssignments;
  readonly dispatcher: FrameDispatcher;
  readonly opener: SessionOpener;
  readonly resumer: SessionResumer;
  readonly membership: MembershipCheck;
  readonly counters: FanoutCounters;
  readonly logger: Logger;
}

const UNREADABLE = Symbol("a state that is none");
const NO_STATE = new Uint8Array(0);
/** Who said that they resume and do not are new after so long. */
const FIRST_FRAME_MS = 5000;
const RETRY_AFTER_MESSAGE = "the store is away; reconnect in a moment";

export class SessionHost {
  readonly #options: SessionHostOptions;
  readonly #byLink = new Map<FanoutLink, Map<number, Session>>();
  readonly #byUser = new Map<string, Set<Session>>();
  /** The user's channel is heard as long as the user is here, followed or not: signals to disconnect come through it. */
  readonly #userChannels = new Map<string, FollowedChannel>();
  #sessions = 0;

  constructor(options: SessionHostOptions) {
    this.#options = options;
  }

  get sessions(): number {
    return this.#sessions;
  }

  get users(): number {
    return this.#byUser.size;
  }

  open(link: FanoutLink, open: OpenSession): void {
    const { principal } = open;
    const snapshot = readState(open.state);
    if (principal === undefined || snapshot === UNREADABLE) {
      this.#options.logger.error({ edge: link.edgeId, connectionId: open.connectionId }, "not a session");
      const close = {
        session: open.session,
        code: CloseCode.INTERNAL,
        reason: "the session cannot be opened",
      };
      link.send({ $case: "close", value: close });
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
      sampleCounter: snapshot?.sampleCounter ?? 0,
      handle: this.#options.dispatcher.handle,
    });
    session.resumable.onReplaced = () => session.close(CloseCode.REPLACED, REPLACED_MESSAGE);
    this.#add(session);
    void this.#begin(session, snapshot);
  }

  frame(link: FanoutLink, frame: UpFrame): void {
    this.#byLink.get(link)?.get(frame.session)?.take(frame);
  }

  /** A socket has what was written to it. */
  confirm(link: FanoutLink, { session: number, positions }: ConfirmPositions): void {
    this.#byLink.get(link)?.get(number)?.confirm(positions);
  }

  close(link: FanoutLink, { session: number }: CloseSession): void {
    const session = this.#byLink.get(link)?.get(number);
    if (session === undefined) return;
    if (session.isAwaitingFirst) {
      this.#remove(session);
      return;
    }
    // Who sends something and leaves has sent it.
    session.silence();
    session.whenIdle(() => {
      this.#remove(session);
      const { record } = session;
      if (record !== undefined) this.#options.registry.remove(record).catch(() => this.#storeFailed());
    });
  }

  /** Gives a session back to its edge, after everything that it sent is dealt with. */
  release(link: FanoutLink, number: number): void {
    const session = this.#byLink.get(link)?.get(number);
    if (session === undefined) return;
    const release = (): void => {
      if (session.isEnded) return;
      link.flushAcknowledged();
      // What was never open has nothing to hand on: the next home opens it anew.
      const state = session.isOpen ? session.snapshot() : NO_STATE;
      this.#remove(session);
      this.#options.counters.sessionsReleased += 1;
      link.send({ $case: "released", value: { session: number, state } });
    };
    if (session.isAwaitingFirst) release();
    else session.whenIdle(release);
  }

  /** The edge is gone, or has taken its sessions elsewhere: their records are left to their new homes. */
  linkEnded(link: FanoutLink): void {
    for (const session of this.#byLink.get(link)?.values() ?? []) this.#remove(session);
    this.#byLink.delete(link);
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
    if (channel.kind === "user") this.#options.assignments.changed(channel.app, channel.id);
    else void this.#options.membership.check(channel, this.#followersOf(channel));
  }

  #disconnect(channel: Channel, signal: Signal): void {
    for (const session of this.#byUser.get(`${channel.app}/${channel.id}`) ?? []) {
      if (signal.connectionId !== "" && signal.connectionId !== session.connectionId) continue;
      session.close(signal.closeCode, signal.reason);
    }
  }

  /** Has the records of all sessions that live here written again. */
  refreshRecords(): void {
    for (const sessions of this.#byLink.values()) {
      const records = [...sessions.values()].flatMap(({ record }) => record ?? []);
      this.#options.registry.refresh(records);
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

  async #begin(session: Session, snapshot: SessionSnapshot | undefined): Promise<void> {
    const { opener, counters, logger } = this.#options;
    try {
      if (snapshot === undefined) await this.#open(session);
      else {
        await opener.restore(session, snapshot);
        counters.sessionsRestored += 1;
      }
      if (session.isEnded) return;
      session.begin();
    } catch (error) {
      if (session.isEnded) return;
      this.#storeFailed();
      logger.warn({ err: error, connectionId: session.connectionId }, "a session could not be opened");
      session.close(CloseCode.OVERLOADED, RETRY_AFTER_MESSAGE);
      session.fail();
    }
  }

  /** Opens a session that has no home yet: a new one, or one that is continued. */
  async #open(session: Session): Promise<void> {
    const { opener, resumer, counters } = this.#options;
    const { awaitsResume, nextUpSequence, replyTo } = session.open;
    // Where the first frame was dealt with by an earlier home, there is nothing to wait for.
    const isAwaited = awaitsResume && nextUpSequence === 1;
    const first = isAwaited ? await session.firstFrame(FIRST_FRAME_MS) : undefined;
    if (session.isEnded) return;
    const outcome = first === undefined ? "not asked for" : await resumer.resume(session, first);
    if (outcome === "resumed") {
      counters.sessionsResumed += 1;
      return;
    }
    await opener.openNew(session, outcome === "refused" ? 0 : replyTo);
    counters.sessionsOpened += 1;
  }

  #add(session: Session): void {
    let sessions = this.#byLink.get(session.link);
    if (sessions === undefined) {
      sessions = new Map<number, Session>();
      this.#byLink.set(session.link, sessions);
    }
    const older = sessions.get(session.number);
    if (older !== undefined) this.#remove(older);
    sessions.set(session.number, session);
    const user = userKey(session);
    let ofUser = this.#byUser.get(user);
    if (ofUser === undefined) {
      ofUser = new Set<Session>();
      this.#byUser.set(user, ofUser);
      const { app, userId } = session.principal;
      this.#userChannels.set(user, this.#options.channels.acquire(userChannel(app, userId)));
    }
    ofUser.add(session);
    this.#sessions += 1;
  }

  #remove(session: Session): void {
    if (!this.#byLink.get(session.link)?.delete(session.number)) return;
    this.#sessions -= 1;
    for (const followed of session.follows.values()) {
      session.link.forget(session, followed);
      followed.followers.delete(session);
      this.#options.channels.release(followed);
    }
    session.follows.clear();
    session.end();
    session.resumable.onReplaced = undefined;
    this.#options.resumables.flush(session.resumable);
    const user = userKey(session);
    const ofUser = this.#byUser.get(user);
    ofUser?.delete(session);
    if (ofUser?.size !== 0) return;
    this.#byUser.delete(user);
    const own = this.#userChannels.get(user);
    this.#userChannels.delete(user);
    if (own !== undefined) this.#options.channels.release(own);
    this.#options.assignments.forget(session.principal.app, session.principal.userId);
  }

  #storeFailed(): void {
    this.#options.counters.storeFailures += 1;
  }
}

/** What an edge sends must never end the fanout: the next one would end by it too. */
function readState(state: Uint8Array): SessionSnapshot | undefined | typeof UNREADABLE {
  if (state.length === 0) return undefined;
  try {
    return SessionSnapshot.decode(state);
  } catch {
    return UNREADABLE;
  }
}

function userKey({ principal }: Session): string {
  return `${principal.app}/${principal.userId}`;
}
