/**
 * Continues an earlier session on another connection: reads the `resume` frame that the session waits for,
 * takes the session over in the store, welcomes, and brings it into each of its channels with what was missed.
 *
 * The frame counts as dealt with only when all of that is done. A home that dies before is followed by one that
 * gets the frame again and the positions that the edge has noted meanwhile, so that nothing comes twice.
 */
import { CloseCode } from "#proto/close-codes.js";
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { decodeClientFrame } from "#proto/frame-codec.js";
import type { ClientFrame, Resume } from "#proto/gen/realtime/client/v1/client_frame.js";
import { UnsubscribeReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { UpFrame } from "#proto/gen/realtime/link/v1/link.js";
import { Signal, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import type { Broker, StreamPosition } from "#fanout/channel/broker.js";
import { parseChannelName, userChannel, type Channel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { checkPosition } from "#fanout/channel/position-check.js";
import type { Channels } from "#fanout/channel/channels.js";
import { ReplayBudget } from "#fanout/channel/replay.js";
import { PartUnknownError } from "#fanout/directory/directory.js";
import { countOne, type FanoutCounters } from "../fanout-counters.js";
import type { StoreClock } from "../store-clock.js";
import { furthest, MAX_FOLLOWED_CHANNELS, type ChannelEntry } from "./channel-entry.js";
import { fewAtATime } from "./few-at-a-time.js";
import { broadcastsOf, isBroadcast } from "#fanout/notification/broadcast-channels.js";
import { checkFrame } from "./frame-dispatcher.js";
import type { ResumableKeeper } from "./resumable-keeper.js";
import type { Cursor, ResumableSessions } from "./resumable-sessions.js";
import type { ResumeKeys } from "./resume-keys.js";
import { readResumeToken } from "./resume-token.js";
import type { Session } from "./session.js";
import { SessionRefused } from "./session-refused.js";
import type { SessionOpener } from "./session-opener.js";
import { unsubscribed } from "./subscription-frames.js";

export interface SessionResumerOptions {
  readonly store: ResumableSessions;
  readonly resumables: ResumableKeeper;
  readonly resumeKeys: ResumeKeys;
  readonly opener: SessionOpener;
  readonly entry: ChannelEntry;
  readonly channels: Channels;
  readonly broker: Broker;
  readonly clock: StoreClock;
  readonly counters: FanoutCounters;
}

export type ResumeOutcome =
  /** It is open. */
  | "resumed"
  /** It was told why not, and is a new session, still to be opened. */
  | "refused"
  /** The frame is another one, which waits until the session is open. */
  | "not asked for";

interface Wanted {
  readonly channel: Channel;
  readonly after: StreamPosition | undefined;
  /** Not only the client says that the session followed it. */
  readonly isContinued: boolean;
}

export class SessionResumer {
  readonly #options: SessionResumerOptions;

  constructor(options: SessionResumerOptions) {
    this.#options = options;
  }

  /** @throws GatewayError unavailable, of which the client was told: its token stays good. */
  async resume(session: Session, first: UpFrame): Promise<ResumeOutcome> {
    const { counters, clock } = this.#options;
    const frame = readFrame(session, first);
    if (frame?.body?.$case !== "resume") return "not asked for";
    countOne(counters.framesReceived, `${session.namespace} resume`);
    try {
      checkFrame(frame, first, clock);
      await this.#continue(session, frame.id, frame.body.value);
    } catch (thrown) {
      if (session.isEnded || thrown instanceof SessionRefused) throw thrown;
      const error = toGatewayError(thrown);
      countOne(counters.requestErrors, error.kind);
      countOne(counters.resumesRefused, error.kind);
      const body = { $case: "error", value: error.toMessage() } as const;
      session.answer({ replyTo: frame.id, body }, first.upSequence);
      session.dealtWithFirst();
      if (error.kind === "unavailable" || error.kind === "internal") throw thrown;
      return "refused";
    }
    session.opened();
    session.dealtWithFirst();
    return "resumed";
  }

  async #continue(session: Session, replyTo: number, asked: Resume): Promise<void> {
    const { store, resumables, resumeKeys, opener, clock } = this.#options;
    const { app, userId } = session.principal;
    const given = readPositions(session, asked);
    const ticket = readResumeToken(resumeKeys.accepted, session.principal, asked.resumeToken);
    const homeStampUs = clock.nowUs();
    const { connectionId } = session;
    const answer = await store.resume({ app, userId, ...ticket, connectionId, homeStampUs });
    mustBeHere(session);
    if (answer.outcome === "superseded")
      throw new GatewayError("unavailable", "another home has the session; come back with the same token");
    if (answer.outcome !== "resumed") {
      const why = answer.outcome === "gone" ? "the session is gone" : "the resume token was used";
      throw new GatewayError("expired", `${why}; this is a new session: subscribe, and load the state`);
    }
    const broadcasts = opener.broadcastsOf(session);
    const { wanted, surplus } = wantedChannels(session, { given, broadcasts, cursors: answer.cursors });
    session.resumable.continueAs({ ...answer, sessionId: ticket.sessionId, homeStampUs });
    for (const channel of surplus) session.resumable.unfollow(channel.name);
    resumables.keep(session.resumable);
    this.#closeReplaced(session, answer.replacedConnectionId);
    await Promise.all([opener.admit(session), this.#activate(wanted)]);
    mustBeHere(session);
    const welcome = opener.welcome(session, { resumed: true });
    session.send({ replyTo, body: { $case: "welcome", value: welcome } });
    const budget = new ReplayBudget();
    for (const channel of surplus) this.#endChannel(session, channel);
    await fewAtATime(wanted, (each) => this.#enter(session, each, budget));
  }

  /** Most of what fails then fails before anything is said. */
  async #activate(wanted: readonly Wanted[]): Promise<void> {
    const { channels } = this.#options;
    const needed = wanted.filter(({ channel }) => !isBroadcast(channel));
    await fewAtATime(needed, async ({ channel }) => {
      const followed = channels.acquire(channel);
      try {
        await followed.active();
      } finally {
        channels.release(followed);
      }
    });
  }

  async #enter(session: Session, wanted: Wanted, budget: ReplayBudget): Promise<void> {
    const { channel, after, isContinued } = wanted;
    try {
      await this.#options.entry.subscribe({
        session,
        channel,
        after,
        isContinued,
        budget,
        answer: (body) => session.send({ replyTo: 0, body }),
      });
    } catch (thrown) {
      const error = toGatewayError(thrown);
      // What is for all must not keep all out.
      if (error.kind === "unavailable" && isBroadcast(channel) && !session.isEnded) {
        if (!session.follows.has(channel.key)) this.#options.opener.joinWithLoss(session, channel);
        return;
      }
      // Who only says that they followed it has to subscribe once it is known whether they may.
      const isNotAllowed = error.kind === "permission_denied" || error instanceof PartUnknownError;
      if (!isNotAllowed && error.kind !== "not_found") throw thrown;
      session.resumable.unfollow(channel.name);
      this.#endChannel(session, channel);
    }
  }

  #endChannel(session: Session, channel: Channel): void {
    const reason = UnsubscribeReason.UNSUBSCRIBE_REASON_PERMISSION_ENDED;
    session.send({ replyTo: 0, body: unsubscribed(channel, reason) });
  }

  #closeReplaced(session: Session, connectionId: string): void {
    if (connectionId === "") return;
    const { app, userId } = session.principal;
    const signal = Signal.encode({
      kind: SignalKind.SIGNAL_KIND_DISCONNECT,
      connectionId,
      closeCode: CloseCode.REPLACED,
      reason: REPLACED_MESSAGE,
      endsSession: false,
    }).finish();
    // Where it is not heard, the older connection's home finds out when it saves.
    this.#options.broker
      .tell(userChannel(app, userId), { signal })
      .catch(() => (this.#options.counters.storeFailures += 1));
  }
}

export const REPLACED_MESSAGE = "another connection continues this session";

/** Where its socket or its edge has gone meanwhile, the rest is left. */
function mustBeHere(session: Session): void {
  if (session.isEnded) throw new GatewayError("unavailable", "the connection is gone");
}

/** Undefined where it cannot be read: it is answered when the session is open, as any other frame. */
function readFrame(session: Session, first: UpFrame): ClientFrame | undefined {
  try {
    return decodeClientFrame(session.framing, first.payload);
  } catch {
    return undefined;
  }
}

/** @throws GatewayError invalid_argument. */
function readPositions(session: Session, { positions }: Resume): readonly Wanted[] {
  const field = "resume.positions";
  const entries = Object.entries(positions);
  // Beside the user's own. To be known before the session is taken from the connection that has it.
  const own = userChannel(session.principal.app, session.principal.userId).name;
  const asked = new Set([own, ...Object.keys(positions)]);
  for (const { name } of broadcastsOf(session.principal)) asked.delete(name);
  if (asked.size > MAX_FOLLOWED_CHANNELS) throw tooMany();
  return entries.map(([name, after]) => {
    const channel = parseChannelName(session.principal.app, name, field);
    checkPosition(after, field);
    if (CHANNEL_KINDS.has(channel.kind)) return { channel, after, isContinued: false };
    throw new GatewayError("invalid_argument", `there is no kind of channel called ${channel.kind}`, {
      field,
    });
  });
}

/**
 * The user's own channel and those of their role, those that were given, and the session's, as far as it may follow so many; what the
 * client says of them wins.
 */
function wantedChannels(
  session: Session,
  {
    given,
    broadcasts,
    cursors,
  }: {
    readonly given: readonly Wanted[];
    readonly broadcasts: readonly Channel[];
    readonly cursors: ReadonlyMap<string, Cursor>;
  },
): { readonly wanted: readonly Wanted[]; readonly surplus: readonly Channel[] } {
  const { principal, open } = session;
  const own = userChannel(principal.app, principal.userId);
  const wanted = new Map<string, Wanted>();
  for (const channel of [own, ...broadcasts])
    wanted.set(channel.name, { channel, after: undefined, isContinued: true });
  const maxWanted = MAX_FOLLOWED_CHANNELS + broadcasts.length;
  for (const each of given) {
    const { name } = each.channel;
    wanted.set(name, { ...each, isContinued: name === own.name || cursors.has(name) });
  }
  const isGiven = new Set(given.map(({ channel }) => channel.name));
  const surplus: Channel[] = [];
  for (const [name, cursor] of cursors) {
    if (isGiven.has(name)) continue;
    const channel = parseChannelName(principal.app, name, "");
    if (wanted.size >= maxWanted && !wanted.has(name)) surplus.push(channel);
    else wanted.set(name, { channel, after: cursor === "unknown" ? undefined : cursor, isContinued: true });
  }
  return {
    surplus,
    wanted: Array.from(wanted.values(), (each) => ({
      ...each,
      // After a home's death in the middle of this the socket may have been given more than the client had said.
      after: furthest(each.after, open.positions[each.channel.name]),
    })),
  };
}

function tooMany(): GatewayError {
  return new GatewayError("invalid_argument", `a session follows at most ${MAX_FOLLOWED_CHANNELS} channels`, {
    field: "resume.positions",
  });
}
