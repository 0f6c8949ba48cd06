/**
 * The longest time that a reader waited for something that was on its way: from the moment when the event was
 * begun, or from the reader's last event where that came later, until it came. Looked at per reader, channel
 * and kind of writer, so that locations that flow on do not hide statuses that do not. Of locations, which may
 * be skipped, the first one after the last that was read counts. Only what came after the fault began.
 */
import { locationKey, type Ledger, type ReaderEntry, type ReaderRecord } from "./ledger.js";
import type { FaultTime } from "./verdict.js";

export interface Pauses {
  readonly apiMs: number;
  readonly clientMs: number;
  readonly locationMs: number;
  /** The longest of any kind before the fault: what the machine does without it. */
  readonly calmMs: number;
  /** Which reader waited longest, for what. */
  readonly longest: string;
}

type Kind = "api" | "client" | "location";

interface Stream {
  lastMs: number;
  lastNumber: number;
}

export function longestPauses(ledger: Ledger, fault: FaultTime): Pauses {
  const longest: Record<Kind, number> = { api: 0, client: 0, location: 0 };
  let calmMs = 0;
  let text = "";
  for (const record of ledger.readers.values()) {
    for (const { kind, pauseMs, atMs, what } of waitsOf(ledger, record)) {
      if (atMs < fault.beganMs) calmMs = Math.max(calmMs, pauseMs);
      if (atMs < fault.beganMs || pauseMs <= longest[kind]) continue;
      if (pauseMs > Math.max(...Object.values(longest))) text = `${record.name} for ${what}`;
      longest[kind] = pauseMs;
    }
  }
  const { api: apiMs, client: clientMs, location: locationMs } = longest;
  return { apiMs, clientMs, locationMs, calmMs, longest: text };
}

interface Wait {
  readonly kind: Kind;
  readonly pauseMs: number;
  readonly atMs: number;
  readonly what: string;
}

function* waitsOf(ledger: Ledger, record: ReaderRecord): Generator<Wait> {
  const streams = new Map<string, Stream>();
  const seen = new Set<string>();
  for (const entry of record.entries) {
    // Nobody waited for what comes a second time.
    if (entry.type === "read" && seen.has(entry.payload)) continue;
    if (entry.type === "read") seen.add(entry.payload);
    const awaited = awaitedBy(ledger, streams, entry);
    if (awaited === undefined) continue;
    const { stream, kind, sinceMs, what } = awaited;
    const pauseMs = entry.atMs - Math.max(stream.lastMs, sinceMs);
    stream.lastMs = entry.atMs;
    yield { kind, pauseMs, atMs: entry.atMs, what };
  }
}

interface Awaited {
  readonly stream: Stream;
  readonly kind: Kind;
  readonly sinceMs: number;
  readonly what: string;
}

function awaitedBy(ledger: Ledger, streams: Map<string, Stream>, entry: ReaderEntry): Awaited | undefined {
  if (entry.type === "read") {
    const write = ledger.writes.get(entry.payload);
    if (write === undefined) return undefined;
    const stream = streamOf(streams, `${write.source} ${entry.channel}`);
    return { stream, kind: write.source, sinceMs: write.beganMs, what: write.payload };
  }
  if (entry.type !== "location") return undefined;
  const key = locationKey(entry.worker, entry.channel);
  const stream = streamOf(streams, `location ${key}`);
  const sinceMs = ledger.locations.get(key)?.beganMs[stream.lastNumber];
  if (sinceMs === undefined || entry.number <= stream.lastNumber) return undefined;
  stream.lastNumber = entry.number;
  return { stream, kind: "location", sinceMs, what: `location ${entry.number} of ${entry.worker}` };
}

function streamOf(streams: Map<string, Stream>, key: string): Stream {
  const stream = streams.get(key) ?? { lastMs: -Infinity, lastNumber: 0 };
  streams.set(key, stream);
  return stream;
}
