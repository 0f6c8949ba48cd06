/**
 * All channels that this fanout follows: each once, however many sessions want it. A channel that nobody
 * wants any more is kept for a moment, because clients come back, and then let go. What comparing them all with
 * the store takes is the sweep's (`fanout/sweep.ts`).
 */
import { channelKeys } from "#fanout/redis/keys.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { Broker, BrokerMessage } from "./broker.js";
import type { Channel } from "./channel.js";
import type { ChannelKind } from "./channel-kinds.js";
import { FollowedChannel } from "./followed-channel.js";

export interface ChannelsOptions {
  readonly broker: Broker;
  readonly counters: FanoutCounters;
  readonly logger: Logger;
  readonly nowMs: () => number;
  /** A word of another fanout (or this one) about a followed channel. */
  readonly onSignal: (channel: Channel, signal: Uint8Array) => void;
  /** Such words may have been lost. */
  readonly onInterrupted: (channel: Channel) => void;
  /** Default: `CHANNEL_KINDS`. */
  readonly kinds?: ReadonlyMap<string, ChannelKind>;
  /** The version of who takes part in a channel. */
  readonly membersVersion?: (channel: Channel) => Promise<number>;
  /** What is stored and not delivered any more. */
  readonly isOver?: (payload: Uint8Array) => boolean;
}

const LINGER_MS = 10_000;
const LINGER_SWEEP_MS = 2000;

export class Channels {
  readonly #options: ChannelsOptions;
  readonly #followed = new Map<string, FollowedChannel>();
  readonly #idle = new Set<FollowedChannel>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: ChannelsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#letIdleGo(), LINGER_SWEEP_MS).unref();
  }

  get size(): number {
    return this.#followed.size;
  }

  /** The channel, followed from now on; give it back with `release`. */
  acquire(channel: Channel): FollowedChannel {
    let followed = this.#followed.get(channel.key);
    if (followed === undefined) {
      followed = new FollowedChannel({ channel, ...this.#options });
      this.#followed.set(channel.key, followed);
    }
    followed.users += 1;
    this.#idle.delete(followed);
    return followed;
  }

  release(followed: FollowedChannel): void {
    followed.users -= 1;
    if (followed.users > 0) return;
    followed.idleSinceMs = this.#options.nowMs();
    this.#idle.add(followed);
  }

  all(): Iterable<FollowedChannel> {
    return this.#followed.values();
  }

  get(channel: Channel): FollowedChannel | undefined {
    return this.#followed.get(channel.key);
  }

  /** Those whose keys lie in these partitions of the store. */
  inPartitions(partitions: ReadonlySet<number>): FollowedChannel[] {
    return [...this.#followed.values()].filter(({ channel }) =>
      partitions.has(channelKeys(channel).partition.index),
    );
  }

  /** Hands an event of this process to its own followers, ahead of the store. */
  deliverLocally(channel: Channel, message: BrokerMessage): void {
    this.#followed.get(channel.key)?.hear(message);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const followed of this.#followed.values()) followed.close();
    this.#followed.clear();
  }

  #letIdleGo(): void {
    const now = this.#options.nowMs();
    for (const followed of this.#idle) {
      if (now - followed.idleSinceMs < LINGER_MS) break; // In the order in which they became idle.
      this.#idle.delete(followed);
      this.#followed.delete(followed.channel.key);
      followed.close();
    }
  }
}
