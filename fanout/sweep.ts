/**
 * Pub/sub can lose the last message of a channel without a trace, and a store its data without ending a connection.
 * At an interval the positions and the membership versions of all followed channels are read and compared, and it is
 * looked whether the store lost something. Nothing is concluded from a round in which the store did not answer.
 */
import type { Broker, StreamPosition } from "./channel/broker.js";
import type { Channels } from "./channel/channels.js";
import type { FollowedChannel } from "./channel/followed-channel.js";
import type { DataLossWatch } from "./data-loss.js";
import type { Directory } from "./directory/directory.js";
import type { FanoutCounters } from "./fanout-counters.js";

export interface SweepOptions {
  readonly channels: Channels;
  readonly broker: Pick<Broker, "positions">;
  readonly directory: Pick<Directory, "versions">;
  /** Absent where the store cannot lose data that this process keeps. */
  readonly dataLoss?: DataLossWatch;
  readonly counters: FanoutCounters;
  /** Default: every 10 s. */
  readonly intervalMs?: number;
}

interface Stored {
  readonly followed: FollowedChannel;
  readonly position: StreamPosition | undefined;
  readonly membersVersion: number | undefined;
}

const DEFAULT_INTERVAL_MS = 10_000;
/** Channels that are asked about in one pipeline. */
const PAGE = 500;

export class Sweep {
  readonly #options: SweepOptions;
  readonly #timer: NodeJS.Timeout;
  #isRunning = false;

  constructor(options: SweepOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#run(), options.intervalMs ?? DEFAULT_INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      const stored = await this.#read();
      // After the positions: where they are gone because the store was emptied, this says so, and before they count.
      await this.#options.dataLoss?.check();
      for (const { followed, position, membersVersion } of stored) {
        if (position !== undefined) followed.check(position);
        if (membersVersion !== undefined) followed.checkMembers(membersVersion);
      }
    } catch {
      // The store is away; the next round, or the resubscription, compares again.
      this.#options.counters.storeFailures += 1;
    } finally {
      this.#isRunning = false;
    }
  }

  async #read(): Promise<Stored[]> {
    const { channels, broker, directory } = this.#options;
    const all = [...channels.all()];
    const stored: Stored[] = [];
    for (let start = 0; start < all.length; start += PAGE) {
      const page = all.slice(start, start + PAGE);
      const names = page.map(({ channel }) => channel);
      // Asked for in one turn: one pipeline.
      const [positions, versions] = await Promise.all([broker.positions(names), directory.versions(names)]);
      for (const [index, followed] of page.entries()) {
        stored.push({ followed, position: positions[index], membersVersion: versions[index] });
      }
    }
    return stored;
  }
}
