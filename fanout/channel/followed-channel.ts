/**
 * A channel that this fanout follows: where it stands, its latest values, and the groups of sockets that
 * get its events. It turns what the broker says (in order, but with gaps and repeats) into deliveries
 * without gaps and repeats: what pub/sub lost is read from history (`catch-up.ts`).
 *
 * While the store is away the channel stays: latest and ephemeral events of this process still flow, and
 * following is tried again until it succeeds.
 */
import type { Logger } from "../fanout-logger.js";
import type { FanoutCounters } from "../fanout-counters.js";
import {
  isBeforeHistory,
  isRotated,
  type Broker,
  type BrokerMessage,
  type LatestValue,
  type StreamPosition,
} from "./broker.js";
import { catchUp, isSameEvent, type CatchUpOptions } from "./catch-up.js";
import type { Channel } from "./channel.js";
import type { ChannelKind } from "./channel-kinds.js";
import { kindOptions } from "./channel-limits.js";
import { EventFrames } from "./event-frames.js";
import { LatestValues } from "./latest-values.js";

/** One event for all sockets that follow the channel at one edge. */
export interface ChannelDelivery {
  readonly frames: EventFrames;
  readonly kind:
    | { readonly class: "durable"; readonly position: StreamPosition }
    | { readonly class: "latest"; readonly key: string; readonly version: number }
    | { readonly class: "ephemeral"; readonly origin: string };
}

/** The sockets of one edge that follow the channel. */
export interface ChannelAudience {
  deliver(delivery: ChannelDelivery): void;
  /** Events up to `position` that were not delivered are lost: clients must load their state anew. */
  missed(position: StreamPosition): void;
}

export interface FollowedChannelOptions {
  readonly channel: Channel;
  readonly broker: Broker;
  readonly counters: FanoutCounters;
  readonly logger: Logger;
  readonly onSignal: (channel: Channel, signal: Uint8Array) => void;
  /** Signals may have been lost: the way was interrupted and is back, or who takes part changed without one. */
  readonly onInterrupted: (channel: Channel) => void;
  /** Default: `CHANNEL_KINDS`. */
  readonly kinds?: ReadonlyMap<string, ChannelKind>;
  /** The version of who takes part; another one means that somebody's part changed. */
  readonly membersVersion?: (channel: Channel) => Promise<number>;
  /** What is stored and not delivered any more. Default: nothing. */
  readonly isOver?: (payload: Uint8Array) => boolean;
}

const RETRY_MS = 500;
const MAX_RETRY_MS = 8_000;
const BEFORE_THE_FIRST: StreamPosition = { epoch: "", offset: 0, tag: 0 };

export class FollowedChannel {
  readonly channel: Channel;
  readonly audiences = new Set<ChannelAudience>();
  /** The sessions that are joined: asked again when permissions change. */
  readonly followers = new Set<object>();
  /** When the first of their parts in the channel ends by itself: milliseconds since 1970-01-01 UTC. */
  partEndsAtMs = Infinity;
  /** Who uses this channel: sessions on their way in, and those that follow. */
  users = 0;
  /** When the last user left. */
  idleSinceMs = 0;
  /** Counts what may have changed who takes part: permission that was checked before the last one is out of date. */
  signals = 0;
  readonly #latest = new LatestValues();
  readonly #options: FollowedChannelOptions;
  #position: StreamPosition | undefined;
  #active: Promise<void>;
  #isHeard = false;
  #isActive = false;
  #isClosed = false;
  #isCatchingUp = false;
  #needsCatchUp = false;
  /** Whether a history that is gone was lost with messages, or just outlived, as far as is known. */
  #whenGone: CatchUpOptions["whenGone"] = "wait";
  /** The position is what was delivered or read here; only such a one may show that the store has forked. */
  #isWitnessed = true;
  /** Of an event that came before the state was there, which may be older than the event. */
  #heardEarly: StreamPosition | undefined;
  #membersVersion = 0;
  #retry: NodeJS.Timeout | undefined;
  /** Times in a row that catching up failed. */
  #failures = 0;
  #catchUpRetry: NodeJS.Timeout | undefined;

  constructor(options: FollowedChannelOptions) {
    this.channel = options.channel;
    this.#options = options;
    this.#active = this.#start();
    // Whoever needs the channel awaits `active`; nobody may.
    this.#active.catch(() => undefined);
  }

  /** The latest values that still live: a new follower shall not be shown yesterday's. */
  freshLatest(): readonly LatestValue[] {
    return this.#latest.fresh(kindOptions(this.channel, this.#options.kinds).latestTtlMs);
  }

  /** The last durable event that was delivered here; undefined before the store was reached once. */
  get position(): StreamPosition | undefined {
    return this.#position;
  }

  get isActive(): boolean {
    return this.#isActive;
  }

  /** Resolves when every event from now on is heard. @throws GatewayError unavailable. */
  active(): Promise<void> {
    return this.#active;
  }

  /**
   * Somebody was given events up to here, and those after it are owed. False where they cannot be given any more:
   * the channel has moved on without them.
   */
  owe(position: StreamPosition): boolean {
    const known = this.#position;
    if (this.#isActive) return known?.epoch === position.epoch && known.offset <= position.offset;
    if (known !== undefined && known.epoch !== position.epoch) return false;
    this.#whenGone = "lost";
    if (known === undefined || known.offset > position.offset) {
      this.#position = position;
      this.#isWitnessed = false;
    }
    return true;
  }

  /**
   * Compares with the store's position, and reads what was lost on the way. Called where the store is known to have
   * lost nothing by then, or after `lose`: a history that is gone was outlived. `before` is where this stood when
   * the store was asked: what was delivered since, the answer need not have.
   */
  check(stored: StreamPosition, before = this.#position): void {
    const position = this.#position;
    if (!this.#isActive || position === undefined || isSame(stored, position)) return;
    const isPassed = before !== undefined && isBetween(stored, before, position);
    if (isPassed && this.#whenGone !== "lost") return;
    if (isBeforeHistory(stored) && this.#whenGone === "wait") this.#whenGone = "outlived";
    void this.#catchUp();
  }

  /** The store lost what it had of this channel: what was delivered is compared, and nothing was just outlived. */
  lose(): void {
    this.#whenGone = "lost";
    if (this.#isActive) void this.#catchUp();
  }

  /** The version of who takes part, as read from the store: signals of what changed since may have been lost. */
  checkMembers(version: number): void {
    if (!this.#isActive || version === this.#membersVersion) return;
    this.#membersVersion = version;
    this.membersMayHaveChanged();
  }

  /** Permission that was checked before is out of date. */
  membersMayHaveChanged(): void {
    this.signals += 1;
    this.#options.onInterrupted(this.channel);
  }

  /** Everybody's part is being checked as of this version. */
  membersChecked(version: number): void {
    this.#membersVersion = Math.max(version, this.#membersVersion);
  }

  hear(message: BrokerMessage): void {
    switch (message.type) {
      case "durable":
        this.#hearDurable(message);
        return;
      case "latest":
        this.#hearLatest(message.value);
        return;
      case "ephemeral":
        this.#deliver({
          frames: new EventFrames(message.payload),
          kind: { class: "ephemeral", origin: message.origin },
        });
        return;
      case "signal":
        this.signals += 1;
        this.#options.onSignal(this.channel, message.signal);
        return;
      case "resubscribed":
        this.#whenGone = "lost";
        if (this.#isActive) void this.#catchUp();
        this.membersMayHaveChanged();
        return;
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#catchUpRetry);
    void this.#options.broker.unfollow(this.channel);
  }

  #hearDurable({ position, previousTag, payload }: Extract<BrokerMessage, { type: "durable" }>): void {
    const known = this.#position;
    if (!this.#isActive || known === undefined) {
      this.#heardEarly = position;
      return;
    }
    const isFirst = isBeforeHistory(known) && !isRotated(position.epoch);
    const isSameHistory = position.epoch === known.epoch || isFirst;
    if (isSameHistory && position.offset <= known.offset) {
      // Another event where one was delivered: the store lost some, and goes on without them.
      if (position.offset === known.offset && !isSameEvent(position, known)) void this.#catchUp();
      return;
    }
    const isNext = isSameHistory && position.offset === known.offset + 1;
    const isBehindKnown = previousTag === undefined || isSameEvent({ tag: previousTag }, known);
    if (isNext && isBehindKnown && !this.#isCatchingUp) this.#advance(position, payload);
    else void this.#catchUp();
  }

  #hearLatest(value: LatestValue): void {
    const outcome = this.#latest.keep(value);
    if (outcome === "stale") this.#options.counters.staleLatest += 1;
    if (outcome !== "kept") return;
    this.#deliver({
      frames: new EventFrames(value.payload),
      kind: { class: "latest", key: value.key, version: value.version },
    });
  }

  #advance(position: StreamPosition, payload: Uint8Array): void {
    this.#position = position;
    this.#deliver({ frames: new EventFrames(payload, position), kind: { class: "durable", position } });
  }

  #deliver(delivery: ChannelDelivery): void {
    for (const audience of this.audiences) audience.deliver(delivery);
  }

  async #start(): Promise<void> {
    const { broker, counters, membersVersion } = this.#options;
    try {
      if (!this.#isHeard) await broker.follow(this.channel, (message) => this.hear(message));
      this.#isHeard = true;
      this.#heardEarly = undefined;
      const [state, version] = await Promise.all([
        broker.state(this.channel),
        membersVersion?.(this.channel),
      ]);
      for (const value of state.latest) this.#hearLatest(value);
      this.#isActive = true;
      this.#membersVersion = version ?? 0;
      this.#position ??= state.position;
      const early = this.#heardEarly as StreamPosition | undefined;
      const isBehind = early !== undefined && !isSame(early, this.#position);
      if (isBehind || this.#whenGone === "lost" || !isSame(state.position, this.#position))
        void this.#catchUp();
    } catch (error) {
      counters.storeFailures += 1;
      if (!this.#isClosed) this.#retry = setTimeout(() => this.#tryAgain(), RETRY_MS * (0.5 + Math.random()));
      throw error;
    }
  }

  #tryAgain(): void {
    if (this.#isClosed) return;
    this.#active = this.#start();
    this.#active.catch(() => undefined);
  }

  /** Reads from history until nothing newer is stored. Runs once at a time. */
  async #catchUp(): Promise<void> {
    this.#needsCatchUp = true;
    if (this.#isCatchingUp || this.#isClosed) return;
    this.#isCatchingUp = true;
    try {
      while (this.#needsCatchUp) {
        this.#needsCatchUp = false;
        await this.#readMissed();
      }
      this.#failures = 0;
    } catch (error) {
      // The next message, resubscription or comparison of positions tries again, or else this.
      this.#whenGone = "lost";
      this.#catchUpLater();
      this.#options.counters.storeFailures += 1;
      this.#options.logger.debug({ err: error, channelKind: this.channel.kind }, "catching up failed");
    } finally {
      this.#isCatchingUp = false;
    }
  }

  /** More seldom each time: while the store is away all channels ask. */
  #catchUpLater(): void {
    this.#failures += 1;
    const delayMs = Math.min(RETRY_MS * 2 ** this.#failures, MAX_RETRY_MS) * (0.5 + Math.random() / 2);
    clearTimeout(this.#catchUpRetry);
    if (!this.#isClosed) this.#catchUpRetry = setTimeout(() => void this.#catchUp(), delayMs);
  }

  async #readMissed(): Promise<void> {
    const whenGone = this.#whenGone;
    this.#whenGone = "wait";
    const position = (): StreamPosition => this.#position ?? BEFORE_THE_FIRST;
    await catchUp({
      broker: this.#options.broker,
      channel: this.channel,
      counters: this.#options.counters,
      follower: {
        get position() {
          return position();
        },
        hearLatest: (value) => this.#hearLatest(value),
        advance: ({ position: next, payload }) => {
          if (this.#options.isOver?.(payload) === true) this.#position = next;
          else this.#advance(next, payload);
        },
        jump: (to) => this.#jump(to),
        outlive: () => (this.#position = BEFORE_THE_FIRST),
      },
      isWitnessed: this.#isWitnessed,
      whenGone,
    });
    this.#isWitnessed = true;
  }

  /** What was followed exists no more: go on from here, and say so. */
  #jump(position: StreamPosition): void {
    this.#position = position;
    this.#isWitnessed = true;
    this.#options.counters.historyHoles += 1;
    for (const audience of this.audiences) audience.missed(position);
  }
}

/** Whether it was passed on the way from one to the other, as far as these positions say. */
function isBetween(position: StreamPosition, from: StreamPosition, to: StreamPosition): boolean {
  if (from.epoch !== to.epoch || position.epoch !== to.epoch) return false;
  if (position.offset < from.offset || position.offset >= to.offset) return false;
  return position.offset > from.offset || isSameEvent(position, from);
}

function isSame(left: StreamPosition, right: StreamPosition): boolean {
  return left.epoch === right.epoch && left.offset === right.offset && left.tag === right.tag;
}
