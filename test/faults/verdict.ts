/**
 * What a ledger proves: each figure counts breaches of one promise, and a finding says which event it was.
 * Pure. What a run may have of each figure is the scenario's to say (`scenario.ts`).
 *
 * - lost: acknowledged, and not read by a reader that it was for, who was not told `recovered: false` for it
 *   (those are `excused`). Told apart by when it was acknowledged.
 * - repeated: an event or payload twice at one reader. Readers without positions may see it again after a return.
 * - out of order: an offset below one that was read before in its epoch, an epoch that was over, or a writer's
 *   acknowledged write after a later one of the same writer and channel.
 * - foreign: read by somebody whom it was not for, or in another channel.
 * - invented: never written, or refused with the word that nothing was stored.
 * - disagreement: two events at one (channel, epoch, offset), one event at two, or a tag that is not its id's.
 * - hidden gaps: a hole between the offsets that a reader saw, and no word about it.
 */
import { eventTag } from "#proto/event-tag.js";
import type { Ledger, LedgerPosition, ReaderEntry, ReaderRecord, Write } from "./ledger.js";
import { judgeLatest } from "./verdict-latest.js";
import { longestPauses, type Pauses } from "./verdict-pauses.js";

/** When the fault began and when it was healed. */
export interface FaultTime {
  readonly beganMs: number;
  readonly healedMs: number;
}

export interface Figures {
  lostBefore: number;
  lostDuring: number;
  lostAfter: number;
  excused: number;
  repeated: number;
  outOfOrder: number;
  foreign: number;
  invented: number;
  disagreement: number;
  hiddenGaps: number;
  latestBackwards: number;
  latestFinalLate: number;
  told: number;
  socketsClosed: number;
  resumed: number;
  /** Sessions that came back with a token and were not continued. */
  notResumed: number;
  /** From a reader's socket being closed, or left as asked, until its session went on. */
  longestAwayMs: number;
  acknowledged: number;
  refused: number;
  unknown: number;
  reads: number;
  locationReads: number;
}

export type FigureName = keyof Figures;

export interface Finding {
  readonly figure: FigureName;
  readonly text: string;
}

export interface Verdict {
  readonly figures: Figures;
  readonly pauses: Pauses;
  /** What the breaches are, in the order of readers; the first hundred of each figure. */
  readonly findings: readonly Finding[];
}

const MAX_FINDINGS = 100;

export function judge(ledger: Ledger, fault: FaultTime): Verdict {
  return new Judgement(ledger, fault).verdict();
}

/** Acknowledged writes that a reader has not read and was not told about. */
export function missing(ledger: Ledger): { readonly write: Write; readonly reader: string }[] {
  const found: { write: Write; reader: string }[] = [];
  for (const { record, writes } of duties(ledger)) {
    const seen = readPayloads(record);
    for (const write of writes) {
      if (!seen.has(write.payload) && !isExcused(record, write)) found.push({ write, reader: record.name });
    }
  }
  return found;
}

function readPayloads(record: ReaderRecord): Set<string> {
  return new Set(record.entries.flatMap((entry) => (entry.type === "read" ? [entry.payload] : [])));
}

/** What each reader must have read. A reader without a record has read nothing, and that is no excuse. */
function duties(ledger: Ledger): { readonly record: ReaderRecord; readonly writes: readonly Write[] }[] {
  const byReader = new Map<string, Write[]>([...ledger.readers.keys()].map((name) => [name, []]));
  for (const write of ledger.writes.values()) {
    if (write.outcome.kind !== "acknowledged") continue;
    for (const name of write.readers) {
      const writes = byReader.get(name) ?? [];
      writes.push(write);
      byReader.set(name, writes);
    }
  }
  return [...byReader].map(([name, writes]) => ({
    writes,
    record: ledger.readers.get(name) ?? { name, allowRepeats: false, entries: [] },
  }));
}

/** Told, after it was written, that everything up to it may be missing. */
function isExcused(record: ReaderRecord, write: Write): boolean {
  if (write.outcome.kind !== "acknowledged") return false;
  const { epoch, offset } = write.outcome.position;
  return record.entries.some(
    (entry) =>
      entry.type === "told" &&
      entry.channel === write.channel &&
      entry.atMs > write.beganMs &&
      (entry.position.epoch !== epoch || entry.position.offset >= offset),
  );
}

class Judgement {
  readonly #figures: Figures = noFigures();
  readonly #findings: Finding[] = [];
  readonly #perFigure = new Map<FigureName, number>();
  /** What stands at a place, and where an event or payload stands. */
  readonly #places = new Map<string, string>();
  readonly #placeOf = new Map<string, string>();

  constructor(
    private readonly ledger: Ledger,
    private readonly fault: FaultTime,
  ) {}

  verdict(): Verdict {
    const { ledger } = this;
    for (const write of ledger.writes.values()) this.#judgeWrite(write);
    for (const record of ledger.readers.values()) {
      this.#judgeReads(record);
      this.#judgeSockets(record);
    }
    for (const { record, writes } of duties(ledger)) this.#judgeLost(record, writes);
    for (const { figure, text } of judgeLatest(ledger)) this.#count(figure, text);
    return { figures: this.#figures, pauses: longestPauses(ledger, this.fault), findings: this.#findings };
  }

  #judgeWrite(write: Write): void {
    const { outcome } = write;
    const why = outcome.kind === "refused" ? outcome.code : outcome.kind === "unknown" ? outcome.reason : "";
    if (outcome.kind === "acknowledged") this.#figures.acknowledged += 1;
    else this.#count(outcome.kind, `${write.payload}: ${why}`);
    if (write.outcome.kind !== "acknowledged") return;
    const { position, eventId } = write.outcome;
    this.#place(`the writer of ${write.payload}`, { ...write, position, eventId });
  }

  #judgeReads(record: ReaderRecord): void {
    const { name } = record;
    const seen = new Map<string, number>();
    const channels = new Map<string, ChannelReading>();
    const sequences = new Map<string, number>();
    let backAt = -1;
    for (const [index, entry] of record.entries.entries()) {
      if (entry.type === "back") backAt = index;
      if (entry.type === "started" || entry.type === "told") {
        readingOf(channels, entry.channel).goOnFrom(entry.position, entry.type === "told");
        if (entry.type === "told") this.#count("told", `${name}: told at ${placeText(entry)}`);
      }
      if (entry.type !== "read") continue;
      this.#figures.reads += 1;
      const text = `${name}: ${entry.payload} at ${placeText(entry)}`;
      this.#judgeMeant(name, entry, text);
      this.#place(name, entry);
      const firstAt = seen.get(entry.payload) ?? seen.get(entry.eventId);
      if (firstAt !== undefined) {
        const mayRepeat = record.allowRepeats && firstAt < backAt;
        if (!mayRepeat) this.#count("repeated", text);
        continue;
      }
      seen.set(entry.payload, index);
      seen.set(entry.eventId, index);
      this.#judgePlaceInStream(readingOf(channels, entry.channel), entry, text);
      this.#judgeSequence(sequences, entry, text);
    }
  }

  #judgeMeant(reader: string, entry: ReadEntry, text: string): void {
    const write = this.ledger.writes.get(entry.payload);
    if (write === undefined) this.#count("invented", `${text} was never written`);
    else if (write.outcome.kind === "refused")
      this.#count("invented", `${text} was refused: ${write.outcome.code}`);
    else if (!write.readers.has(reader) || write.channel !== entry.channel)
      this.#count("foreign", `${text} was for ${write.channel}`);
  }

  #judgePlaceInStream(reading: ChannelReading, entry: ReadEntry, text: string): void {
    const problem = reading.read(entry.position);
    if (problem === "gap") this.#count("hiddenGaps", `${text}, after ${reading.before}`);
    if (problem === "backwards") this.#count("outOfOrder", `${text}, after ${reading.before}`);
  }

  #judgeSequence(sequences: Map<string, number>, entry: ReadEntry, text: string): void {
    const write = this.ledger.writes.get(entry.payload);
    if (write === undefined) return;
    const key = `${write.writer} ${write.channel}`;
    const last = sequences.get(key) ?? 0;
    // A write that was given up may be stored later than the next one.
    if (write.sequence < last && write.outcome.kind === "acknowledged") {
      this.#count("outOfOrder", `${text} is number ${write.sequence} of ${write.writer}, after ${last}`);
    }
    sequences.set(key, Math.max(last, write.sequence));
  }

  #judgeLost(record: ReaderRecord, writes: readonly Write[]): void {
    const seen = readPayloads(record);
    for (const write of writes) {
      if (seen.has(write.payload)) continue;
      const figure = isExcused(record, write) ? "excused" : this.#lostWhen(write);
      this.#count(figure, `${record.name}: ${write.payload} at ${placeOfWrite(write)}`);
    }
  }

  #lostWhen(write: Write): FigureName {
    if (write.endedMs < this.fault.beganMs) return "lostBefore";
    return write.beganMs > this.fault.healedMs ? "lostAfter" : "lostDuring";
  }

  #judgeSockets(record: ReaderRecord): void {
    let awaySinceMs: number | undefined;
    for (const entry of record.entries) {
      if (entry.type === "location") this.#figures.locationReads += 1;
      if (entry.type === "closed") {
        this.#count("socketsClosed", `${record.name}: closed with ${entry.code}`);
      }
      if (entry.type === "closed" || entry.type === "left") awaySinceMs ??= entry.atMs;
      if (entry.type !== "back") continue;
      if (entry.resumed) this.#figures.resumed += 1;
      else if (entry.offered === true)
        this.#count("notResumed", `${record.name} after ${Math.round(entry.atMs)} ms`);
      if (awaySinceMs !== undefined) this.#away(entry.atMs - awaySinceMs, record);
      awaySinceMs = undefined;
    }
    if (awaySinceMs !== undefined) this.#away(Infinity, record);
  }

  #away(durationMs: number, { name }: ReaderRecord): void {
    if (durationMs <= this.#figures.longestAwayMs) return;
    this.#figures.longestAwayMs = durationMs;
    this.#note("longestAwayMs", `${name}: away for ${Math.round(durationMs)} ms`);
  }

  /** Everybody must see one event at one place, and one place for each event. */
  #place(who: string, seen: Omit<ReadEntry, "type" | "atMs">): void {
    const place = placeText(seen);
    const event = `${seen.eventId} (${seen.payload})`;
    const standing = this.#places.get(place);
    if (standing === undefined) this.#places.set(place, event);
    else if (standing !== event)
      this.#count("disagreement", `${who}: ${event} at ${place}, where ${standing} is`);
    for (const id of [`event ${seen.eventId}`, `payload ${seen.payload}`]) {
      const known = this.#placeOf.get(id);
      if (known === undefined) this.#placeOf.set(id, place);
      else if (known !== place) this.#count("disagreement", `${who}: ${id} at ${place}, and at ${known}`);
    }
    if (seen.position.tag !== eventTag(seen.eventId)) {
      this.#count("disagreement", `${who}: ${event} has tag ${seen.position.tag}`);
    }
  }

  #count(figure: FigureName, text: string): void {
    this.#figures[figure] += 1;
    this.#note(figure, text);
  }

  #note(figure: FigureName, text: string): void {
    const noted = (this.#perFigure.get(figure) ?? 0) + 1;
    this.#perFigure.set(figure, noted);
    if (noted <= MAX_FINDINGS) this.#findings.push({ figure, text });
  }
}

type ReadEntry = Extract<ReaderEntry, { type: "read" }>;

/** Where one reader stands in one channel. */
class ChannelReading {
  #last: LedgerPosition | undefined;
  readonly #epochsOver = new Set<string>();
  /** What the last read came after, for people. */
  before = "nothing";

  goOnFrom(position: LedgerPosition, isTold: boolean): void {
    // A return that says "recovered" moves nothing: what was missed must still come.
    if (isTold || this.#last === undefined) this.#move(position);
  }

  read(position: LedgerPosition): "gap" | "backwards" | undefined {
    const last = this.#last;
    this.before = last === undefined ? "nothing" : `${last.epoch}:${last.offset}`;
    if (last !== undefined && this.#epochsOver.has(position.epoch)) return "backwards";
    const isSameEpoch = last?.epoch === position.epoch;
    if (isSameEpoch && position.offset <= last.offset) return "backwards";
    this.#move(position);
    if (last === undefined) return undefined;
    const isFirst = last.epoch === "" && last.offset === 0;
    const expected = isSameEpoch ? last.offset + 1 : 1;
    return (isSameEpoch || isFirst) && position.offset === expected ? undefined : "gap";
  }

  #move(position: LedgerPosition): void {
    const last = this.#last;
    if (last !== undefined && last.epoch !== position.epoch) this.#epochsOver.add(last.epoch);
    this.#epochsOver.delete(position.epoch);
    this.#last = position;
  }
}

function readingOf(channels: Map<string, ChannelReading>, channel: string): ChannelReading {
  const reading = channels.get(channel) ?? new ChannelReading();
  channels.set(channel, reading);
  return reading;
}

function placeText({ channel, position }: { channel: string; position: LedgerPosition }): string {
  return `${channel} ${position.epoch}:${position.offset}`;
}

function placeOfWrite(write: Write): string {
  return write.outcome.kind === "acknowledged"
    ? placeText({ channel: write.channel, position: write.outcome.position })
    : write.channel;
}

function noFigures(): Figures {
  return {
    lostBefore: 0,
    lostDuring: 0,
    lostAfter: 0,
    excused: 0,
    repeated: 0,
    outOfOrder: 0,
    foreign: 0,
    invented: 0,
    disagreement: 0,
    hiddenGaps: 0,
    latestBackwards: 0,
    latestFinalLate: 0,
    told: 0,
    socketsClosed: 0,
    resumed: 0,
    notResumed: 0,
    longestAwayMs: 0,
    acknowledged: 0,
    refused: 0,
    unknown: 0,
    reads: 0,
    locationReads: 0,
  };
}
