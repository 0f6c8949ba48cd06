/**
 * All channels that this fanout follows: each once, however many sessions want it. A channel that nobody
 * wants any more is kept for a moment, because clients come back, and then let go.
 *
 * Pub/sub can lose the last message of a channel without a trace: the positions of all followed channels
 * are compared with the store's at an interval.
 */
import type { FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { Broker, BrokerMessage } from "./broker.js";
import type { Channel } from "./channel.js";
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
}

const LINGER_MS = 10_000;
const LINGER_SWEEP_MS = 2000;
const POSITION_SWEEP_MS = 10_000;
const POSITION_PAGE = 500;

export class Channels {
  readonly #options: ChannelsOptions;
  readonly #followed = new Map<string, FollowedChannel>();
  readonly #idle = new Set<FollowedChannel>();
  readonly #timers: NodeJS.Timeout[];

  constructor(options: ChannelsOptions) {
    this.#options = options;
    this.#timers = [
      setInterval(() => this.#letIdleGo(), LINGER_SWEEP_MS).unref(),
      setInterval(() => void this.#comparePositions(), POSITION_SWEEP_MS).unref(),
    ];
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

  /** Hands an event of this process to its own followers, ahead of the store. */
  deliverLocally(channel: Channel, message: BrokerMessage): void {
    this.#followed.get(channel.key)?.hear(message);
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
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

  async #comparePositions(): Promise<void> {
    const all = [...this.#followed.values()];
    for (let start = 0; start < all.length; start += POSITION_PAGE) {
      const page = all.slice(start, start + POSITION_PAGE);
      try {
        const positions = await this.#options.broker.positions(page.map(({ channel }) => channel));
        for (const [index, followed] of page.entries()) {
          const position = positions[index];
          if (position !== undefined) followed.check(position);
        }
      } catch {
        return; // The store is away; the next round, or the resubscription, compares again.
      }
    }
  }
}
