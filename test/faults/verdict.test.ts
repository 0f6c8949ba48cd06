/** Hand-made ledgers, each with one fault that the verdict must find; and an honest one, where it finds none. */
import { describe, expect, it } from "vitest";
import { eventTag } from "#proto/event-tag.js";
import { breachesOf } from "./allowed.js";
import { Ledger, type LedgerPosition, type ReaderRecord, type Write } from "./ledger.js";
import { judge, missing, type FigureName } from "./verdict.js";

const CHANNEL = "order:1";
const FAULT = { beganMs: 1000, healedMs: 2000 };

const NO_BREACHES: ReadonlySet<string> = new Set([
  ...["acknowledged", "reads", "locationReads", "unknown", "refused", "longestAwayMs"],
]);

const eventIdOf = (payload: string): string => `event-${payload}`;

function position(offset: number, payload: string, epoch = "e1"): LedgerPosition {
  return { epoch, offset, tag: eventTag(eventIdOf(payload)) };
}

/** Two readers of one channel, and one of nothing. */
class Story {
  readonly ledger = new Ledger();
  readonly ann = this.#reader("ann");
  readonly bob = this.#reader("bob", true);
  readonly eve = this.ledger.reader("eve");
  readonly porter = this.ledger.locationStream("p1", CHANNEL, new Set(["ann", "bob"]));
  #sequence = 0;

  /** An acknowledged write, stored at this offset. */
  write(
    offset: number,
    options: { atMs?: number; epoch?: string; writer?: string; sequence?: number } = {},
  ): Write {
    const { atMs = 1100 + offset, epoch = "e1", writer = "w", sequence = ++this.#sequence } = options;
    const write = this.begin(`w${offset}${epoch}`, { atMs, writer, sequence });
    const kept = { position: position(offset, write.payload, epoch), eventId: eventIdOf(write.payload) };
    this.ledger.ended(write, { kind: "acknowledged", ...kept }, atMs + 1);
    return write;
  }

  begin(payload: string, { atMs = 1100, writer = "w", sequence = 1 } = {}): Write {
    const readers = new Set(["ann", "bob"]);
    return this.ledger.began({
      payload,
      source: "api",
      writer,
      channel: CHANNEL,
      sequence,
      beganMs: atMs,
      readers,
    });
  }

  read(
    reader: ReaderRecord,
    write: Write,
    changes: Partial<{ atMs: number; position: LedgerPosition }> = {},
  ): void {
    const { outcome, payload, channel } = write;
    const stored = outcome.kind === "acknowledged" ? outcome.position : position(9, payload);
    const seen = { channel, payload, eventId: eventIdOf(payload), position: stored, atMs: write.beganMs + 5 };
    reader.entries.push({ type: "read", ...seen, ...changes });
  }

  /** Everybody reads what is for them. */
  readByAll(...writes: readonly Write[]): void {
    for (const reader of [this.ann, this.bob]) for (const write of writes) this.read(reader, write);
  }

  sendLocations(count: number): void {
    for (let number = 1; number <= count; number += 1) this.porter.beganMs.push(1000 + number * 100);
  }

  readLocation(reader: ReaderRecord, number: number, atMs = 1005 + number * 100): void {
    reader.entries.push({ type: "location", atMs, channel: CHANNEL, worker: "p1", number });
  }

  told(reader: ReaderRecord, atMs: number, upTo: LedgerPosition): void {
    reader.entries.push({ type: "told", atMs, channel: CHANNEL, position: upTo });
  }

  /** The figures that are not 0, of those that can be a breach. */
  breaches(): Partial<Record<FigureName, number>> {
    const { figures } = judge(this.ledger, FAULT);
    const isBreach = ([figure, value]: [string, number]): boolean => value > 0 && !NO_BREACHES.has(figure);
    return Object.fromEntries(Object.entries(figures).filter(isBreach));
  }

  #reader(name: string, allowRepeats = false): ReaderRecord {
    const record = this.ledger.reader(name, { allowRepeats });
    record.entries.push({
      type: "started",
      atMs: 0,
      channel: CHANNEL,
      position: { epoch: "", offset: 0, tag: 0 },
    });
    return record;
  }
}

describe("an honest run", () => {
  it("has no breach", () => {
    const story = new Story();
    story.readByAll(story.write(1), story.write(2), story.write(3));
    story.sendLocations(3);
    for (const reader of [story.ann, story.bob]) {
      story.readLocation(reader, 1);
      story.readLocation(reader, 3);
    }
    expect(story.breaches()).toEqual({});
    expect(missing(story.ledger)).toEqual([]);
    expect(breachesOf(judge(story.ledger, FAULT), {})).toEqual([]);
  });

  it("may have read an unknown write or not", () => {
    const story = new Story();
    const stored = story.begin("maybe");
    story.begin("never", { sequence: 2 });
    for (const reader of [story.ann, story.bob])
      story.read(reader, stored, { position: position(1, "maybe") });
    expect(story.breaches()).toEqual({});
  });

  it("lets a reader without positions see again what it saw before its return, and nobody else", () => {
    const story = new Story();
    const [one, two] = [story.write(1), story.write(2)];
    story.readByAll(one);
    for (const reader of [story.ann, story.bob])
      reader.entries.push({ type: "back", atMs: 1500, resumed: true });
    story.readByAll(one, two);
    expect(story.breaches()).toEqual({ repeated: 1, resumed: 2 });
  });
});

describe("the verdict finds", () => {
  it.each([
    { atMs: 500, figure: "lostBefore" },
    { atMs: 1500, figure: "lostDuring" },
    { atMs: 2500, figure: "lostAfter" },
  ])("an event lost when it was acknowledged at $atMs: $figure", ({ atMs, figure }) => {
    const story = new Story();
    const write = story.write(1, { atMs });
    story.read(story.ann, write);
    expect(story.breaches()).toEqual({ [figure]: 1 });
    expect(missing(story.ledger)).toEqual([{ write, reader: "bob" }]);
  });

  it("an event that came twice", () => {
    const story = new Story();
    const write = story.write(1);
    story.readByAll(write, write);
    // Also at the reader that has not been away, whatever it tells at a return.
    expect(story.breaches()).toEqual({ repeated: 2 });
  });

  it("a payload that was stored twice: repeated, and in two places", () => {
    const story = new Story();
    const write = story.write(1);
    story.readByAll(write);
    const again = { atMs: 1300, position: position(2, write.payload) };
    story.read(story.ann, write, again);
    expect(story.breaches()).toEqual({ repeated: 1, disagreement: 2 });
  });

  it("events in another order than that of their offsets", () => {
    const story = new Story();
    const [one, two] = [
      story.write(1, { writer: "w1", sequence: 1 }),
      story.write(2, { writer: "w2", sequence: 1 }),
    ];
    story.readByAll(one, two);
    story.ann.entries.splice(1);
    story.read(story.ann, two);
    story.read(story.ann, one);
    expect(story.breaches()).toEqual({ hiddenGaps: 1, outOfOrder: 1 });
  });

  it("a writer's events stored in another order than it was told", () => {
    const story = new Story();
    story.readByAll(story.write(1, { sequence: 2 }), story.write(2, { sequence: 1 }));
    expect(story.breaches()).toEqual({ outOfOrder: 2 });
  });

  it("an epoch that was over", () => {
    const story = new Story();
    const [one, other, two] = [story.write(1), story.write(1, { epoch: "e2" }), story.write(2)];
    story.readByAll(one);
    for (const reader of [story.ann, story.bob]) story.told(reader, 1400, { epoch: "e2", offset: 0, tag: 0 });
    story.readByAll(other, two);
    expect(story.breaches()).toEqual({ outOfOrder: 2, told: 2 });
  });

  it("an event at somebody whom it is not for", () => {
    const story = new Story();
    const write = story.write(1);
    story.readByAll(write);
    story.read(story.eve, write);
    expect(story.breaches()).toEqual({ foreign: 1 });
  });

  it("an event in another channel than it was written to", () => {
    const story = new Story();
    const write = story.write(1);
    story.readByAll(write);
    story.ledger.writes.set(write.payload, { ...write, channel: "order:2" });
    expect(story.breaches()["foreign"]).toBe(2);
  });

  it("a location at somebody whom it is not for", () => {
    const story = new Story();
    story.sendLocations(1);
    for (const reader of [story.ann, story.bob, story.eve]) story.readLocation(reader, 1);
    expect(story.breaches()).toEqual({ foreign: 1 });
  });

  it("an event that nobody wrote, and one that was refused", () => {
    const story = new Story();
    const refused = story.begin("refused");
    story.ledger.ended(refused, { kind: "refused", code: "permission_denied" }, 1200);
    story.read(story.ann, refused, { position: position(1, "refused") });
    const other = new Story().begin("nobody's");
    story.read(story.ann, other, { position: position(2, "nobody's") });
    expect(story.breaches()).toEqual({ invented: 2 });
  });

  it("two readers with different events at one place", () => {
    const story = new Story();
    const [one, other] = [story.begin("one"), story.begin("other", { writer: "w2" })];
    story.read(story.ann, one, { position: position(1, "one") });
    story.read(story.bob, other, { position: position(1, "other") });
    expect(story.breaches()).toEqual({ disagreement: 1 });
  });

  it("a writer that was told another place than its readers", () => {
    const story = new Story();
    const write = story.write(2);
    for (const reader of [story.ann, story.bob])
      story.read(reader, write, { position: position(1, write.payload) });
    expect(story.breaches()).toEqual({ disagreement: 4 });
  });

  it("a tag that is not the event's", () => {
    const story = new Story();
    const write = story.write(1);
    story.readByAll(write);
    story.ann.entries.splice(1);
    story.read(story.ann, write, { position: { epoch: "e1", offset: 1, tag: 7 } });
    expect(story.breaches()).toEqual({ disagreement: 1 });
  });

  it("a hole between offsets that nobody spoke of, also where the event is unknown to the writer", () => {
    const story = new Story();
    const [one, three] = [story.write(1), story.write(3)];
    story.readByAll(one, three);
    expect(story.breaches()).toEqual({ hiddenGaps: 2 });
  });

  it("a hole at the beginning, and a new epoch without a word", () => {
    const story = new Story();
    story.readByAll(story.write(2), story.write(1, { epoch: "e2" }));
    expect(story.breaches()).toEqual({ hiddenGaps: 4 });
  });

  it("an older location after a newer, and a final one that is late or missing", () => {
    const story = new Story();
    story.sendLocations(3);
    for (const number of [2, 1, 3]) story.readLocation(story.ann, number);
    story.readLocation(story.bob, 3, 1300 + 1001);
    expect(story.breaches()).toEqual({ latestBackwards: 1, latestFinalLate: 1 });
    story.bob.entries.pop();
    expect(story.breaches()).toEqual({ latestBackwards: 1, latestFinalLate: 1 });
  });

  it("a session that was not continued though its token was shown", () => {
    const story = new Story();
    story.ann.entries.push({ type: "back", atMs: 1500, resumed: false, offered: true });
    story.bob.entries.push({ type: "back", atMs: 1500, resumed: false, offered: false });
    expect(story.breaches()).toEqual({ notResumed: 1 });
  });

  it("how long a reader was away that left its socket as it was asked to", () => {
    const story = new Story();
    story.ann.entries.push({ type: "left", atMs: 1000 });
    story.ann.entries.push({ type: "back", atMs: 1300, resumed: true });
    expect(story.breaches()).toEqual({ resumed: 1 });
    expect(judge(story.ledger, FAULT).figures.longestAwayMs).toBe(300);
  });

  it("sockets that were closed, and how long their readers were away", () => {
    const story = new Story();
    story.ann.entries.push({ type: "closed", atMs: 1000, code: 1006 });
    story.ann.entries.push({ type: "back", atMs: 1700, resumed: true });
    expect(story.breaches()).toEqual({ socketsClosed: 1, resumed: 1 });
    expect(judge(story.ledger, FAULT).figures.longestAwayMs).toBe(700);
    story.bob.entries.push({ type: "closed", atMs: 1000, code: 1006 });
    expect(judge(story.ledger, FAULT).figures.longestAwayMs).toBe(Infinity);
  });
});

describe("a reader that is told", () => {
  it("is excused for what lies before, and for nothing behind it", () => {
    const story = new Story();
    const [one, two, three, four] = [story.write(1), story.write(2), story.write(3), story.write(4)];
    story.readByAll(one);
    story.told(story.ann, 1400, position(2, two.payload));
    story.read(story.ann, three);
    story.read(story.bob, two);
    story.read(story.bob, three);
    story.read(story.bob, four);
    // Told up to 2: that 4 is missing is no excuse.
    expect(story.breaches()).toEqual({ told: 1, excused: 1, lostDuring: 1 });
  });

  it("is not excused for what was written after it was told", () => {
    const story = new Story();
    story.told(story.ann, 1050, position(9, "any"));
    story.read(story.bob, story.write(1));
    expect(story.breaches()).toEqual({ told: 1, lostDuring: 1 });
  });

  it("must go on right behind the position that it was told", () => {
    const story = new Story();
    const [one, four] = [story.write(1), story.write(4)];
    story.readByAll(one);
    story.told(story.ann, 1101, position(2, "any"));
    story.told(story.bob, 1101, position(3, "any"));
    story.readByAll(four);
    expect(story.breaches()).toEqual({ told: 2, hiddenGaps: 1 });
  });
});

describe("a pause", () => {
  it("is how long a reader waited for what was begun", () => {
    const story = new Story();
    const [one, two, three] = [
      story.write(1, { atMs: 1100 }),
      story.write(2, { atMs: 1200 }),
      story.write(3, { atMs: 1300 }),
    ];
    story.read(story.ann, one, { atMs: 1110 });
    story.read(story.ann, two, { atMs: 1900 });
    story.read(story.ann, three, { atMs: 1901 });
    expect(judge(story.ledger, FAULT).pauses).toMatchObject({ apiMs: 700, clientMs: 0, locationMs: 0 });
  });

  it("begins with the last event where another one was under way by then", () => {
    const story = new Story();
    const [one, two] = [story.write(1, { atMs: 1100 }), story.write(2, { atMs: 1105 })];
    story.read(story.ann, one, { atMs: 1500 });
    story.read(story.ann, two, { atMs: 1800 });
    expect(judge(story.ledger, FAULT).pauses.apiMs).toBe(400);
  });

  it("is none where a reader gets again what it has", () => {
    const story = new Story();
    const one = story.write(1, { atMs: 1100 });
    story.read(story.bob, one, { atMs: 1110 });
    story.bob.entries.push({ type: "back", atMs: 1890, resumed: true });
    story.read(story.bob, one, { atMs: 1900 });
    expect(judge(story.ledger, FAULT).pauses.apiMs).toBe(10);
  });

  it("is no pause where nothing was written, and none where it ended before the fault", () => {
    const story = new Story();
    const [one, two] = [story.write(1, { atMs: 100 }), story.write(2, { atMs: 1900 })];
    story.read(story.ann, one, { atMs: 900 });
    story.read(story.ann, two, { atMs: 1910 });
    expect(judge(story.ledger, FAULT).pauses).toMatchObject({ apiMs: 10, calmMs: 800 });
  });

  it("of locations is counted from the first that was not read, also where it was skipped", () => {
    const story = new Story();
    story.sendLocations(9);
    story.readLocation(story.ann, 1, 1105);
    story.readLocation(story.ann, 9, 1905);
    expect(judge(story.ledger, FAULT).pauses).toMatchObject({ apiMs: 0, locationMs: 705 });
    expect(breachesOf(judge(story.ledger, FAULT), { pauseMs: 700, latestFinalLate: 1 })).toHaveLength(2);
  });
});
