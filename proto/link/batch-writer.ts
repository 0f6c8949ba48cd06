/**
 * The sending half of a link: gathers encoded items and sends them as batches at its pace, within the credit
 * that the receiver gave. Items are spliced, not encoded again.
 *
 * The queue is bounded by rules, not by hope. While it is under pressure a `latest` item replaces the
 * queued one of its key, and `ephemeral` items are dropped; at `cutBytes` the link is given up through
 * `onOverflow`. `kept` items (replies, joins, closes, durable events) are never dropped.
 */
import { EVERY_TURN, type FlushPace } from "#proto/flush-pace.js";
import type { LinkStream } from "./link-stream.js";

export interface BatchWriterLimits {
  /** A batch is closed when it holds so many bytes. */
  readonly batchBytes: number;
  /** From so many queued bytes on, latest items replace each other and ephemeral ones are dropped. */
  readonly pressureBytes: number;
  /** At so many queued bytes the link is cut. */
  readonly cutBytes: number;
}

export const DEFAULT_BATCH_WRITER_LIMITS: BatchWriterLimits = {
  batchBytes: 64 * 1024,
  pressureBytes: 4 * 1024 * 1024,
  cutBytes: 64 * 1024 * 1024,
};

export class BatchWriter {
  readonly #stream: LinkStream;
  readonly #limits: BatchWriterLimits;
  readonly #onOverflow: () => void;
  readonly #pace: FlushPace;
  #queue: Uint8Array[] = [];
  #head = 0;
  #queuedBytes = 0;
  #creditBytes = 0;
  #isFull = false;
  #isScheduled = false;
  #isStopped = false;
  /** Where a latest item of this key stands in the queue; filled only under pressure. */
  readonly #latestIndex = new Map<string, number>();
  /** How many items were replaced or dropped under pressure. */
  conflated = 0;
  dropped = 0;
  batches = 0;
  bytes = 0;

  constructor(options: {
    stream: LinkStream;
    limits?: BatchWriterLimits;
    /** Default: what is queued in one turn of the event loop leaves at its end. */
    pace?: FlushPace;
    onOverflow: () => void;
  }) {
    this.#stream = options.stream;
    this.#pace = options.pace ?? EVERY_TURN;
    this.#limits = options.limits ?? DEFAULT_BATCH_WRITER_LIMITS;
    this.#onOverflow = options.onOverflow;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get isUnderPressure(): boolean {
    return this.#queuedBytes >= this.#limits.pressureBytes;
  }

  /** Queues an item that must arrive. */
  keep(item: Uint8Array): void {
    this.#push(item);
  }

  /** Queues the newest value of a key; under pressure it takes the place of an older one. */
  latest(key: string, item: Uint8Array): void {
    if (!this.isUnderPressure) {
      // A newer value must never take the place of one that stands before this.
      this.#latestIndex.delete(key);
      this.#push(item);
      return;
    }
    const index = this.#latestIndex.get(key);
    const older = index === undefined ? undefined : this.#queue[index];
    if (index === undefined || older === undefined) {
      this.#latestIndex.set(key, this.#queue.length);
      this.#push(item);
      return;
    }
    this.#queue[index] = item;
    this.#queuedBytes += item.length - older.length;
    this.conflated += 1;
  }

  /** Queues an item that may be lost. */
  ephemeral(item: Uint8Array): void {
    if (this.isUnderPressure) this.dropped += 1;
    else this.#push(item);
  }

  /** Sends an item at once and without credit: hello, credit and status keep the link itself alive. */
  urgent(item: Uint8Array): void {
    if (this.#isStopped) return;
    this.#creditBytes -= item.length;
    this.#send(item);
  }

  /** The receiver allows so much more. */
  grant(bytes: number): void {
    this.#creditBytes += bytes;
    this.#schedule();
  }

  /** The transport takes more. */
  drained(): void {
    this.#isFull = false;
    this.#schedule();
  }

  stop(): void {
    this.#isStopped = true;
    this.#clear();
  }

  flush(): void {
    while (!this.#isStopped && !this.#isFull && this.#creditBytes > 0 && this.#head < this.#queue.length) {
      this.#send(this.#takeBatch());
    }
    if (this.#head === this.#queue.length) this.#clear();
  }

  #push(item: Uint8Array): void {
    if (this.#isStopped) return;
    this.#queue.push(item);
    this.#queuedBytes += item.length;
    if (this.#queuedBytes > this.#limits.cutBytes) {
      this.stop();
      this.#onOverflow();
      return;
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isStopped || this.#isFull || this.#head === this.#queue.length) return;
    this.#isScheduled = true;
    this.#pace.schedule(this.#flushDue);
  }

  readonly #flushDue = (): void => {
    this.#isScheduled = false;
    this.flush();
  };

  #takeBatch(): Uint8Array {
    const first = this.#head;
    let size = 0;
    while (this.#head < this.#queue.length) {
      const length = this.#queue[this.#head]?.length ?? 0;
      if (size > 0 && size + length > this.#limits.batchBytes) break;
      size += length;
      this.#head += 1;
    }
    const items = this.#queue.slice(first, this.#head);
    // What was sent is let go of; the positions of latest items in the queue stay valid.
    this.#queue.fill(EMPTY, first, this.#head);
    this.#queuedBytes -= size;
    this.#creditBytes -= size;
    if (this.#latestIndex.size > 0) {
      for (const [key, index] of this.#latestIndex) if (index < this.#head) this.#latestIndex.delete(key);
    }
    const [only] = items;
    if (this.#head > COMPACT_AT && this.#head * 2 > this.#queue.length) this.#compact();
    return items.length === 1 && only !== undefined ? only : Buffer.concat(items, size);
  }

  /** Cuts off the part of the queue that was sent: a queue that never runs empty must not grow. */
  #compact(): void {
    const sent = this.#head;
    this.#queue = this.#queue.slice(sent);
    this.#head = 0;
    for (const [key, index] of this.#latestIndex) this.#latestIndex.set(key, index - sent);
  }

  #send(batch: Uint8Array): void {
    this.batches += 1;
    this.bytes += batch.length;
    if (!this.#stream.send(batch)) this.#isFull = true;
  }

  #clear(): void {
    this.#queue = [];
    this.#head = 0;
    this.#queuedBytes = 0;
    this.#latestIndex.clear();
  }
}

const EMPTY = new Uint8Array(0);
const COMPACT_AT = 4096;
