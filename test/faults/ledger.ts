/**
 * What was written and what was read, as it happened: nothing here judges (see `verdict.ts`). Every durable
 * write carries a payload that exists once, and knows who must read it. Times are passed in, milliseconds of
 * one monotonic clock: writers and readers live in one process.
 *
 * An outcome is what the writer may rely on: `acknowledged` is stored, `refused` is certainly not stored, and
 * everything else (time-outs, lost connections, "unavailable", "internal") is `unknown`: stored or not.
 */

export interface LedgerPosition {
  readonly epoch: string;
  readonly offset: number;
  readonly tag: number;
}

/** By whose hand an event comes in: a backend over the API, or an app over its socket. */
export type WriteSource = "api" | "client";

export type WriteOutcome =
  | { readonly kind: "acknowledged"; readonly position: LedgerPosition; readonly eventId: string }
  | { readonly kind: "refused"; readonly code: string }
  | { readonly kind: "unknown"; readonly reason: string };

export interface NewWrite {
  readonly payload: string;
  readonly source: WriteSource;
  readonly writer: string;
  readonly channel: string;
  /** Counts within (writer, channel); a writer waits for an outcome before it goes on in the channel. */
  readonly sequence: number;
  readonly beganMs: number;
  /** Who must read it; nobody else may. */
  readonly readers: ReadonlySet<string>;
}

export interface Write extends NewWrite {
  outcome: WriteOutcome;
  /** When the outcome was known; Infinity before. */
  endedMs: number;
}

/** A worker's locations in one channel. */
export interface LocationStream {
  readonly worker: string;
  readonly channel: string;
  readonly readers: ReadonlySet<string>;
  /** When each was sent; the first has number 1. */
  readonly beganMs: number[];
}

/** What a reader saw, in its order. */
export type ReaderEntry =
  /** The channel is followed from here on: the next offset is the one after it. */
  | {
      readonly type: "started";
      readonly atMs: number;
      readonly channel: string;
      readonly position: LedgerPosition;
    }
  | {
      readonly type: "read";
      readonly atMs: number;
      readonly channel: string;
      readonly position: LedgerPosition;
      readonly eventId: string;
      readonly payload: string;
    }
  | {
      readonly type: "location";
      readonly atMs: number;
      readonly channel: string;
      readonly worker: string;
      readonly number: number;
    }
  /** `recovered: false`: what lies before the position may be missing. */
  | {
      readonly type: "told";
      readonly atMs: number;
      readonly channel: string;
      readonly position: LedgerPosition;
    }
  /** The socket was closed, and not by the reader. */
  | { readonly type: "closed"; readonly atMs: number; readonly code: number }
  /** The reader left its socket, as it was asked to. */
  | { readonly type: "left"; readonly atMs: number }
  /** It is there again, on another socket: its session goes on (`resumed`), where it could ask for that (`offered`). */
  | { readonly type: "back"; readonly atMs: number; readonly resumed: boolean; readonly offered?: boolean };

export interface ReaderRecord {
  readonly name: string;
  /** It does not tell its positions when it comes back: what it has may come again. */
  readonly allowRepeats: boolean;
  readonly entries: ReaderEntry[];
}

export class Ledger {
  readonly writes = new Map<string, Write>();
  readonly locations = new Map<string, LocationStream>();
  readonly readers = new Map<string, ReaderRecord>();

  began(write: NewWrite): Write {
    if (this.writes.has(write.payload)) throw new Error(`the payload ${write.payload} is written twice`);
    const kept: Write = { ...write, outcome: { kind: "unknown", reason: "still open" }, endedMs: Infinity };
    this.writes.set(write.payload, kept);
    return kept;
  }

  ended(write: Write, outcome: WriteOutcome, atMs: number): void {
    write.outcome = outcome;
    write.endedMs = atMs;
  }

  locationStream(worker: string, channel: string, readers: ReadonlySet<string>): LocationStream {
    const stream = { worker, channel, readers, beganMs: [] };
    this.locations.set(locationKey(worker, channel), stream);
    return stream;
  }

  reader(name: string, options: { allowRepeats?: boolean } = {}): ReaderRecord {
    const record = { name, allowRepeats: options.allowRepeats ?? false, entries: [] };
    this.readers.set(name, record);
    return record;
  }
}

export function locationKey(worker: string, channel: string): string {
  return `${worker} ${channel}`;
}
