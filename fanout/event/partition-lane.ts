/**
 * The records of one partition on their way to the handler: strictly one after the other; a failure
 * holds the lane and tries the same record again with backoff, for as long as the lane is open. So a
 * lane never waits for another one, and nobody has to wait for a lane.
 *
 * What is done is read from `doneOffset`; committing it, and pausing the supply when `pending` grows,
 * is left to the owner.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Backoff, type BackoffOptions } from "./backoff.js";

export interface LaneItem {
  readonly offset: number;
  /** Where to go on after it: offset + 1, or more where the log has a hole or a control record behind it. */
  readonly nextOffset: number;
}

export interface LaneOptions<Item extends LaneItem> {
  /** Resolves when the item is done for good; a rejection is a failure that can pass. */
  readonly process: (item: Item) => Promise<void>;
  readonly backoff: BackoffOptions;
  /** Ends early, without an error, when the signal fires. */
  readonly wait?: (delayMs: number, signal: AbortSignal) => Promise<void>;
  readonly onDone?: () => void;
  readonly onFailure?: (item: Item, failure: { error: unknown; retryInMs: number }) => void;
  /** Begin after this: an earlier lane of the same partition may still have a record in hand. */
  readonly after?: Promise<void>;
}

export class PartitionLane<Item extends LaneItem> {
  readonly #options: LaneOptions<Item>;
  readonly #backoff: Backoff;
  readonly #closing = new AbortController();
  readonly #queue: Item[] = [];
  #running: Promise<void> | undefined;
  #acceptedOffset = 0;
  #doneOffset: number | undefined;

  constructor(options: LaneOptions<Item>) {
    this.#options = options;
    this.#backoff = new Backoff(options.backoff);
  }

  /** How many are not done, the one in hand included. */
  get pending(): number {
    return this.#queue.length;
  }

  /** Everything below it is done; undefined until the first is. */
  get doneOffset(): number | undefined {
    return this.#doneOffset;
  }

  /** Everything below it was accepted: the log cannot end before it. */
  get acceptedOffset(): number {
    return this.#acceptedOffset;
  }

  /** Takes items in the order of their offsets; those that it had before (fetched again) are left out. */
  accept(items: readonly Item[]): void {
    if (this.#closing.signal.aborted) return;
    for (const item of items) {
      if (item.offset < this.#acceptedOffset) continue;
      this.#queue.push(item);
      this.#acceptedOffset = item.nextOffset;
    }
    this.#running ??= this.#run();
  }

  /** Drops what waits, ends waiting for a retry, and resolves when the item in hand is settled. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
    this.#queue.length = 0;
  }

  async #run(): Promise<void> {
    await this.#options.after;
    for (;;) {
      const item = this.#queue[0];
      if (item === undefined || !(await this.#finish(item))) break;
      this.#queue.shift();
      this.#doneOffset = item.nextOffset;
      this.#options.onDone?.();
    }
    this.#running = undefined;
  }

  /** Whether it was done; false where the lane was closed before. */
  async #finish(item: Item): Promise<boolean> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#options.process(item);
        this.#backoff.reset();
        return true;
      } catch (error) {
        const retryInMs = this.#backoff.nextMs();
        this.#options.onFailure?.(item, { error, retryInMs });
        await (this.#options.wait ?? waitOrAbort)(retryInMs, signal);
      }
    }
    return false;
  }
}

async function waitOrAbort(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await wait(delayMs, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
