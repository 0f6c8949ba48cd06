/**
 * Locations are `latest`: a reader may miss some, but never sees an older one after a newer, has the final one
 * within a second of its sending, and sees none that is not for it. Pure; part of `verdict.ts`.
 */
import { locationKey, type Ledger, type LocationStream, type ReaderRecord } from "./ledger.js";
import type { Finding } from "./verdict.js";

const FINAL_WITHIN_MS = 1000;

export function* judgeLatest(ledger: Ledger): Generator<Finding> {
  for (const record of ledger.readers.values()) {
    yield* judgeReader(ledger, record);
    for (const stream of ledger.locations.values()) {
      if (stream.readers.has(record.name)) yield* judgeFinal(record, stream);
    }
  }
}

function* judgeReader(ledger: Ledger, record: ReaderRecord): Generator<Finding> {
  const newest = new Map<string, number>();
  for (const entry of record.entries) {
    if (entry.type !== "location") continue;
    const key = locationKey(entry.worker, entry.channel);
    const text = `${record.name}: location ${entry.number} of ${key}`;
    const stream = ledger.locations.get(key);
    if (stream?.readers.has(record.name) !== true) yield { figure: "foreign", text };
    else if (stream.beganMs[entry.number - 1] === undefined) yield { figure: "invented", text };
    const before = newest.get(key) ?? 0;
    if (entry.number < before) yield { figure: "latestBackwards", text: `${text}, after ${before}` };
    newest.set(key, Math.max(before, entry.number));
  }
}

function* judgeFinal(record: ReaderRecord, stream: LocationStream): Generator<Finding> {
  const final = stream.beganMs.length;
  const beganMs = stream.beganMs.at(-1);
  if (beganMs === undefined) return;
  const { worker, channel } = stream;
  const read = record.entries.find(
    (entry) =>
      entry.type === "location" &&
      entry.channel === channel &&
      entry.worker === worker &&
      entry.number === final,
  );
  if (read !== undefined && read.atMs - beganMs <= FINAL_WITHIN_MS) return;
  const when = read === undefined ? "never came" : `came after ${Math.round(read.atMs - beganMs)} ms`;
  yield {
    figure: "latestFinalLate",
    text: `${record.name}: the final location ${final} of ${worker} ${when}`,
  };
}
