/**
 * A channel that this fanout follows: where it stands, its latest values, and the groups of sockets that
 * get its events. It turns what the broker says (in order, but with gaps and repeats) into deliveries
 * without gaps and repeats: what pub/sub lost is read from history.
 *
 * While the store is away the channel stays: latest and ephemeral events of this process still flow, and
 * following is tried again until it succeeds.
 */
import type { Logger } from "../fanout-logger.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Broker, BrokerMessage, LatestValue, StreamPosition } from "./broker.js";
import type { Channel } from "./channel.js";
import { kindOptions, MAX_LATEST_VALUES } from "./channel-limits.js";
import { EventFrames } from "./event-frames.js";

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
  /** The way was interrupted and is back: signals may have been lost. */
  readonly onInterrupted: (channel: Channel) => void;
}

/** Latest values of so many keys are known here; beyond, the oldest is forgotten. */
const HISTORY_PAGE = 100;
const RETRY_MS = 500;

export class FollowedChannel {
  readonly channel: Channel;
  readonly audiences = new Set<ChannelAudience>();
  readonly latest = new Map<string, LatestValue>();
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
  /** When each of the latest values came, by this process's clock. */
  readonly #heardAtMs = new Map<string, number>();
  readonly #options: FollowedChannelOptions;
  #position: StreamPosition | undefined;
  #active: Promise<void>;
  #isHeard = false;
  #isActive = false;
  #isClosed = false;
  #isCatchingUp = false;
  #needsCatchUp = false;
  /** Since the last comparison messages may have been lost: then a history that is gone was not just outlived. */
  #wasInterrupted = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: FollowedChannelOptions) {
    this.channel = options.channel;
    this.#options = options;
    this.#active = this.#start();
    // Whoever needs the channel awaits `active`; nobody may.
    this.#active.catch(() => undefined);
  }

  /** The latest values that still live: a new follower shall not be shown yesterday's. */
  freshLatest(): readonly LatestValue[] {
    const { latestTtlMs } = kindOptions(this.channel);
    const oldestMs = performance.now() - latestTtlMs;
    for (const key of this.latest.keys()) {
      if ((this.#heardAtMs.get(key) ?? 0) >= oldestMs) break; // In the order in which they came.
      this.latest.delete(key);
      this.#heardAtMs.delete(key);
    }
    return [...this.latest.values()];
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
    this.#wasInterrupted = true;
    if (known === undefined || known.offset > position.offset) this.#position = position;
    return true;
  }

  /** Compares with the store's position, and reads what was lost on the way. */
  check(stored: StreamPosition): void {
    const position = this.#position;
    if (!this.#isActive || position === undefined) return;
    if (!isSame(stored, position)) void this.#catchUp();
  }

  hear(message: BrokerMessage): void {
    switch (message.type) {
      case "durable":
        this.#hearDurable(message.position, message.payload);
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
        this.signals += 1;
        this.#wasInterrupted = true;
        if (this.#isActive) void this.#catchUp();
        this.#options.onInterrupted(this.channel);
        return;
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    void this.#options.broker.unfollow(this.channel);
  }

  #hearDurable(position: StreamPosition, payload: Uint8Array): void {
    const known = this.#position;
    if (!this.#isActive || known === undefined) return; // `state`, read after following, covers it.
    const isSameHistory = position.epoch === known.epoch || isBeforeHistory(known);
    if (isSameHistory && position.offset <= known.offset) {
      // Another event where one was delivered: the store lost some, and goes on without them.
      if (position.offset === known.offset && position.tag !== known.tag) void this.#catchUp();
      return;
    }
    if (isSameHistory && position.offset === known.offset + 1 && !this.#isCatchingUp) {
      this.#advance(position, payload);
    } else void this.#catchUp();
  }

  #hearLatest(value: LatestValue): void {
    if (!this.#keepLatest(value)) return;
    this.#deliver({
      frames: new EventFrames(value.payload),
      kind: { class: "latest", key: value.key, version: value.version },
    });
  }

  /** False where it is not newer than what is known. */
  #keepLatest(value: LatestValue): boolean {
    const known = this.latest.get(value.key);
    if (known !== undefined && known.version >= value.version) {
      if (known.version > value.version) this.#options.counters.staleLatest += 1;
      return false;
    }
    this.latest.delete(value.key); // The order of the keys is that of their last change.
    this.latest.set(value.key, value);
    this.#heardAtMs.set(value.key, performance.now());
    if (this.latest.size > MAX_LATEST_VALUES) {
      for (const oldest of this.latest.keys()) {
        this.latest.delete(oldest);
        this.#heardAtMs.delete(oldest);
        break;
      }
    }
    return true;
  }

  #advance(position: StreamPosition, payload: Uint8Array): void {
    this.#position = position;
    this.#deliver({ frames: new EventFrames(payload, position), kind: { class: "durable", position } });
  }

  #deliver(delivery: ChannelDelivery): void {
    for (const audience of this.audiences) audience.deliver(delivery);
  }

  async #start(): Promise<void> {
    const { broker, counters } = this.#options;
    try {
      if (!this.#isHeard) await broker.follow(this.channel, (message) => this.hear(message));
      this.#isHeard = true;
      const state = await broker.state(this.channel);
      for (const value of state.latest) this.#hearLatest(value);
      this.#isActive = true;
      if (this.#position === undefined) this.#position = state.position;
      else this.check(state.position);
      if (this.#wasInterrupted) void this.#catchUp();
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
    } catch (error) {
      // The next message, resubscription or comparison of positions tries again.
      this.#wasInterrupted = true;
      this.#options.counters.storeFailures += 1;
      this.#options.logger.debug({ err: error, channelKind: this.channel.kind }, "catching up failed");
    } finally {
      this.#isCatchingUp = false;
    }
  }

  async #readMissed(): Promise<void> {
    const { broker, counters } = this.#options;
    const wasInterrupted = this.#wasInterrupted;
    this.#wasInterrupted = false;
    const state = await broker.state(this.channel);
    for (const value of state.latest) this.#hearLatest(value);
    if (isBeforeHistory(state.position) && !wasInterrupted) {
      // Everything was delivered; the store has outlived it.
      this.#position = state.position;
      return;
    }
    const known = this.#comparable(state.position);
    if (
      known.offset > state.position.offset ||
      (known.offset === state.position.offset && known.tag !== state.position.tag)
    ) {
      this.#jump(state.position);
      return;
    }
    for (let reached = known; reached.offset < state.position.offset;) {
      const events = await broker.history(this.channel, {
        afterOffset: reached.offset,
        limit: HISTORY_PAGE,
      });
      const [first] = events;
      if (first === undefined || first.position.epoch !== reached.epoch) {
        this.#jump(state.position);
        return;
      }
      if (first.position.offset > reached.offset + 1) {
        counters.historyHoles += 1;
        const before = { ...first.position, offset: first.position.offset - 1, tag: 0 };
        for (const audience of this.audiences) audience.missed(before);
      }
      for (const event of events) {
        this.#advance(event.position, event.payload);
        counters.gapsFilled += 1;
        reached = event.position;
      }
    }
  }

  /** Where this channel stands in the stored history; at its beginning where it is another one, which is said. */
  #comparable(stored: StreamPosition): StreamPosition {
    const position = this.#position;
    if (position?.epoch === stored.epoch) return position;
    const beginning = { epoch: stored.epoch, offset: 0, tag: 0 };
    if (position === undefined || isBeforeHistory(position)) return beginning;
    this.#jump(beginning);
    return beginning;
  }

  /** What was followed exists no more: go on from here, and say so. */
  #jump(position: StreamPosition): void {
    this.#position = position;
    this.#options.counters.historyHoles += 1;
    for (const audience of this.audiences) audience.missed(position);
  }
}

function isSame(left: StreamPosition, right: StreamPosition): boolean {
  return left.epoch === right.epoch && left.offset === right.offset && left.tag === right.tag;
}

/** A channel has no epoch before its first event. */
function isBeforeHistory(position: StreamPosition): boolean {
  return position.epoch === "" && position.offset === 0;
}
