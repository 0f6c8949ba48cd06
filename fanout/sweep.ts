/**
 * Pub/sub can lose the last message of a channel without a trace, and a store its data without ending a connection.
 * At an interval the positions and the membership versions of all followed channels are read and compared, and it is
 * looked whether the store lost something. Nothing is concluded of a channel whose part of the store did not answer;
 * the others are compared all the same.
 */
import type { Broker, StreamPosition } from "./channel/broker.js";
import type { Channels } from "./channel/channels.js";
import type { FollowedChannel } from "./channel/followed-channel.js";
import type { DataLossWatch } from "./data-loss.js";
import type { Directory } from "./directory/directory.js";
import type { FanoutCounters } from "./fanout-counters.js";
import { channelKeys } from "./redis/keys.js";

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
  /** Where it stood before it was asked about. */
  readonly before: StreamPosition | undefined;
  readonly position: StreamPosition;
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
      const unseen = await this.#options.dataLoss?.check();
      if (unseen !== undefined && unseen.size > 0) this.#options.counters.storeFailures += 1;
      for (const { followed, before, position, membersVersion } of stored) {
        if (unseen?.has(channelKeys(followed.channel).partition.index) === true) continue;
        followed.check(position, before);
        if (membersVersion !== undefined) followed.checkMembers(membersVersion);
      }
    } catch {
      // The store is away; the next round, or the resubscription, compares again.
      this.#options.counters.storeFailures += 1;
    } finally {
      this.#isRunning = false;
    }
  }

  /** Of those channels whose part of the store answered. */
  async #read(): Promise<readonly Stored[]> {
    const all = [...this.#options.channels.all()];
    const stored: Stored[] = [];
    for (let start = 0; start < all.length; start += PAGE) {
      stored.push(...(await this.#readPage(all.slice(start, start + PAGE))));
    }
    return stored;
  }

  async #readPage(page: readonly FollowedChannel[]): Promise<readonly Stored[]> {
    const { broker, directory, counters } = this.#options;
    const before = page.map(({ position }) => position);
    const failed = (): readonly never[] => {
      counters.storeFailures += 1;
      return [];
    };
    const positions = await broker.positions(page.map(({ channel }) => channel)).catch(failed);
    const answered = page.flatMap((followed, index) => {
      const position = positions[index];
      return position === undefined ? [] : [{ followed, before: before[index], position }];
    });
    if (answered.length === 0) return [];
    // What is stored of a channel lies together: those that are away are not waited for once more.
    const versions = await directory
      .versions(answered.map(({ followed: { channel } }) => channel))
      .catch(failed);
    return answered.map((each, index) => ({ ...each, membersVersion: versions[index] }));
  }
}
