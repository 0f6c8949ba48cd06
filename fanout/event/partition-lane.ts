/**
 * The records of one partition on their way to the handler. What touches the same thing is done strictly one after
 * the other, in the order of the offsets; what touches different things is done at the same time, so many at once,
 * so that a partition is not as slow as the store's answers one by one. A failure is tried again with backoff for
 * as long as the lane is open: what comes after it and touches the same waits, and nothing further is taken in hand,
 * so that a restart does not do much of it again. No lane waits for another one.
 *
 * What is done without a gap is read from `doneOffset`; committing it, and pausing the supply when `pending` grows,
 * is left to the owner.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Backoff, type BackoffOptions } from "./backoff.js";
import type { RecordWork } from "./event-source.js";

export interface LaneItem {
  readonly offset: number;
  /** Where to go on after it: offset + 1, or more where the log has a hole or a control record behind it. */
  readonly nextOffset: number;
  /** What it holds in memory, about. */
  readonly byteLength: number;
}

export interface LaneOptions<Item extends LaneItem> {
  /** What is to be done; `run` resolves when the item is done for good, and a rejection is a failure that can pass. */
  readonly prepare: (item: Item) => RecordWork;
  readonly backoff: BackoffOptions;
  /** Ends early, without an error, when the signal fires. */
  readonly wait?: (delayMs: number, signal: AbortSignal) => Promise<void>;
  /** For each item in the order of their offsets, when it and all before it are done. */
  readonly onDone?: () => void;
  /** Of the first item that is not done, which is the one that holds the partition's offset. */
  readonly onFailure?: (item: Item, failure: { error: unknown; retryInMs: number }) => void;
  /** Begin after this: an earlier lane of the same partition may still have records in hand. */
  readonly after?: Promise<void>;
}

/** Waiting for others of them counts too. The store answers many in one turn: more at once bring little. */
const MAX_IN_HAND = 64;

interface Entry<Item> {
  readonly item: Item;
  isDone: boolean;
  hasFailed: boolean;
}

export class PartitionLane<Item extends LaneItem> {
  readonly #options: LaneOptions<Item>;
  readonly #closing = new AbortController();
  /** All that is not done, and what is done behind it, in order. */
  readonly #queue: Entry<Item>[] = [];
  /** When the last item that touches a thing is settled. */
  readonly #lastTouches = new Map<string, Promise<void>>();
  readonly #inHand = new Set<Promise<void>>();
  /** How many of the queue were taken in hand. */
  #taken = 0;
  #pendingBytes = 0;
  #opening: Promise<void> | undefined;
  #acceptedOffset = 0;
  #doneOffset: number | undefined;

  constructor(options: LaneOptions<Item>) {
    this.#options = options;
    this.#opening = options.after?.then(() => {
      this.#opening = undefined;
      this.#take();
    });
  }

  /** How many are not done, or wait for one before them that is not. */
  get pending(): number {
    return this.#queue.length;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
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
      this.#queue.push({ item, isDone: false, hasFailed: false });
      this.#pendingBytes += item.byteLength;
      this.#acceptedOffset = item.nextOffset;
    }
    if (this.#opening === undefined) this.#take();
  }

  /** Drops what waits, ends waiting for a retry, and resolves when what is in hand is settled. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#opening;
    await Promise.all(this.#inHand);
    this.#queue.length = 0;
    this.#pendingBytes = 0;
  }

  #take(): void {
    while (this.#inHand.size < MAX_IN_HAND && !this.#closing.signal.aborted) {
      if (this.#queue[0]?.hasFailed === true) return;
      const entry = this.#queue[this.#taken];
      if (entry === undefined) return;
      this.#taken += 1;
      this.#begin(entry);
    }
  }

  #begin(entry: Entry<Item>): void {
    const work = this.#options.prepare(entry.item);
    const before = work.touches.flatMap((thing) => this.#lastTouches.get(thing) ?? []);
    const settled = this.#finish(entry, work, before).then(() => {
      this.#inHand.delete(settled);
      for (const thing of work.touches)
        if (this.#lastTouches.get(thing) === settled) this.#lastTouches.delete(thing);
      this.#take();
    });
    this.#inHand.add(settled);
    for (const thing of work.touches) this.#lastTouches.set(thing, settled);
  }

  /** Settles when it is done, or not done where the lane was closed before. Never rejects. */
  async #finish(entry: Entry<Item>, work: RecordWork, before: readonly Promise<void>[]): Promise<void> {
    // Also where there is nothing before it: what it touches must be known when it begins.
    await Promise.all(before);
    const { signal } = this.#closing;
    let backoff: Backoff | undefined;
    while (!signal.aborted) {
      try {
        await work.run();
      } catch (error) {
        entry.hasFailed = true;
        backoff ??= new Backoff(this.#options.backoff);
        const retryInMs = backoff.nextMs();
        if (this.#queue[0] === entry) this.#options.onFailure?.(entry.item, { error, retryInMs });
        await (this.#options.wait ?? waitOrAbort)(retryInMs, signal);
        continue;
      }
      entry.isDone = true;
      this.#passDone();
      return;
    }
  }

  #passDone(): void {
    for (;;) {
      const first = this.#queue[0];
      if (first?.isDone !== true) return;
      this.#queue.shift();
      this.#taken -= 1;
      this.#pendingBytes -= first.item.byteLength;
      this.#doneOffset = first.item.nextOffset;
      this.#options.onDone?.();
    }
  }
}

async function waitOrAbort(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await wait(delayMs, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
