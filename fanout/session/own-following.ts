/**
 * Server-side subscriptions: a session that asked for it at connect (`follow_own`) follows everything that its user
 * takes part in, unasked. It is brought in when it begins, and whenever the user's parts have changed; that a part
 * ended is `membership-check.ts`'s to tell, as for any follower. What the client unsubscribes from stays so until the
 * part has ended or the connection.
 *
 * A part that was granted while the session lives, or was away, begins with what is stored of the channel: the message
 * that began a conversation comes before anybody can follow it.
 */
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import type { Channels } from "#fanout/channel/channels.js";
import type { StreamPosition } from "#fanout/channel/broker.js";
import { ReplayBudget } from "#fanout/channel/replay.js";
import { PartUnknownError } from "#fanout/directory/directory.js";
import { OWN_KINDS } from "#fanout/policy/policy.js";
import type { Relations } from "#fanout/policy/relations.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { MAX_FOLLOWED_CHANNELS, type ChannelEntry } from "./channel-entry.js";
import { fewAtATime } from "./few-at-a-time.js";
import type { Session } from "./session.js";

/** The rest of what a session may follow is for what its client asks for, and for what is granted later. */
export const MAX_OWN_CHANNELS = 192;
const RETRY_MS = 1000;
const FROM_THE_FIRST: StreamPosition = { epoch: "", offset: 0, tag: 0 };

export interface OwnFollowingOptions {
  readonly relations: Pick<Relations, "ownParts" | "namesOf">;
  readonly channels: Channels;
  readonly entry: ChannelEntry;
  readonly counters: FanoutCounters;
}

interface Progress {
  isRunning: boolean;
  /** Parts have changed since they were read. */
  isStale: boolean;
  /** Where it stands in its channels is where they stand: its client has nothing, and is told so. */
  isNew: boolean;
  isCutTold: boolean;
  entering: number;
}

export class OwnFollowing {
  readonly #options: OwnFollowingOptions;
  readonly #progress = new WeakMap<Session, Progress>();

  constructor(options: OwnFollowingOptions) {
    this.#options = options;
  }

  /** The session is open. `isNew`: its client continues nothing. */
  begin(session: Session, { isNew }: { readonly isNew: boolean }): void {
    if (!session.open.followOwn || session.capability === "anonymous") return;
    const progress = { isRunning: false, isStale: false, isNew, isCutTold: false, entering: 0 };
    this.#progress.set(session, progress);
    void this.#run(session, progress);
  }

  /** What these take part in has changed, or may have. */
  changed(sessions: Iterable<Session>): void {
    for (const session of sessions) {
      const progress = this.#progress.get(session);
      if (progress !== undefined) void this.#run(session, progress);
    }
  }

  /** Never rejects. */
  async #run(session: Session, progress: Progress): Promise<void> {
    progress.isStale = true;
    if (progress.isRunning) return;
    progress.isRunning = true;
    try {
      while (progress.isStale && !session.isEnded) {
        progress.isStale = false;
        await this.#bringIn(session, progress);
      }
    } catch {
      this.#options.counters.storeFailures += 1;
      setTimeout(() => {
        if (!session.isEnded) void this.#run(session, progress);
      }, RETRY_MS).unref();
    } finally {
      progress.isRunning = false;
    }
  }

  /** @throws GatewayError unavailable. */
  async #bringIn(session: Session, progress: Progress): Promise<void> {
    const { relations, channels } = this.#options;
    const { principal } = session;
    // Changes behind the reading are heard then.
    for (const name of relations.namesOf(principal))
      await channels.get(userChannel(principal.app, name))?.active();
    const { parts, isComplete } = await relations.ownParts(principal);
    const after = progress.isNew ? undefined : FROM_THE_FIRST;
    // What is tried again, and what comes later, must not miss what came since.
    progress.isNew = false;
    const own = new Map(parts.map(({ channel }) => [channel.name, channel]));
    if (isComplete) session.forgetDeclined((name) => !own.has(name));
    const all = [...own.values()].filter(
      ({ kind, name }) => OWN_KINDS.has(kind) && !session.declined.has(name),
    );
    let unknown: PartUnknownError | undefined;
    let isCut = all.length > MAX_OWN_CHANNELS;
    const budget = new ReplayBudget();
    await fewAtATime(all.slice(0, MAX_OWN_CHANNELS), async (channel) => {
      if (session.isEnded || session.follows.has(channel.key) || session.arriving.has(channel.key)) return;
      if (session.follows.size + session.arriving.size + progress.entering >= MAX_FOLLOWED_CHANNELS) {
        isCut = true;
        return;
      }
      progress.entering += 1;
      try {
        await this.#enter(session, channel, { budget, after });
      } catch (thrown) {
        // The others need not wait for what nobody knows yet.
        if (!(thrown instanceof PartUnknownError)) throw thrown;
        unknown = thrown;
      } finally {
        progress.entering -= 1;
      }
    });
    if (isCut && !progress.isCutTold) tellCut(session);
    progress.isCutTold = isCut;
    if (unknown !== undefined) throw unknown;
  }

  async #enter(
    session: Session,
    channel: Channel,
    { budget, after }: { readonly budget: ReplayBudget; readonly after: StreamPosition | undefined },
  ): Promise<void> {
    try {
      await this.#options.entry.subscribe({
        session,
        channel,
        after,
        budget,
        isWanted: () => !session.isEnded && !session.declined.has(channel.name),
        answer: (body) => session.send({ replyTo: 0, body }),
      });
      session.saveState();
    } catch (thrown) {
      // The part has ended meanwhile: its signal is here, or is on its way.
      if (toGatewayError(thrown).kind !== "permission_denied") throw thrown;
    }
  }
}

function tellCut(session: Session): void {
  const error = new GatewayError(
    "rate_limited",
    `you take part in more channels than are followed unasked: subscribe to those that have no \`subscribed\``,
    { field: "follow_own" },
  );
  session.send({ replyTo: 0, body: { $case: "error", value: error.toMessage() } });
}
