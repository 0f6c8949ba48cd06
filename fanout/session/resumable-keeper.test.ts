import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { gate } from "#test/support/fanout-core.js";
import { FanoutCounters } from "../fanout-counters.js";
import { ResumableKeeper } from "./resumable-keeper.js";
import { ResumableRecord } from "./resumable-record.js";
import type { SaveOutcome, SessionSave } from "./resumable-sessions.js";

let saves: SessionSave[];
let outcome: SaveOutcome;
let isAway: boolean;
let answering: Promise<void>;
let counters: FanoutCounters;
let keeper: ResumableKeeper;
let record: ResumableRecord;

const at = (offset: number, epoch = "e") => ({ epoch, offset, tag: offset });

function recordOf(sessionId: string): ResumableRecord {
  return new ResumableRecord({
    app: "default",
    userId: "u1",
    connectionId: "c1",
    sessionId,
    generation: 1,
    isGenerationConfirmed: false,
  });
}

/** What was saved of the channels, save by save. */
const saved = () => saves.map(({ cursors, isWhole }) => [isWhole, Object.fromEntries(cursors)]);
const window = (): Promise<unknown> => vi.advanceTimersByTimeAsync(100);

beforeEach(() => {
  vi.useFakeTimers();
  saves = [];
  outcome = "saved";
  isAway = false;
  answering = Promise.resolve();
  counters = new FanoutCounters();
  const store = {
    save: async (save: SessionSave): Promise<SaveOutcome> => {
      saves.push(save);
      const answer = outcome;
      await answering;
      if (isAway) throw new GatewayError("unavailable", "away");
      return answer;
    },
  };
  keeper = new ResumableKeeper({ store, counters });
  record = recordOf("s1");
});

afterEach(() => {
  vi.useRealTimers();
});

describe("what is saved of a session", () => {
  it("is all of it at first, at once, and then what changed, gathered for a moment", async () => {
    record.follow("user:u1", undefined);
    await keeper.create(record);
    record.follow("user:u1", at(0));
    record.follow("order:1", at(3));
    record.follow("order:2", at(1));
    record.confirm("order:1", at(5));
    record.unfollow("order:2");
    await vi.advanceTimersByTimeAsync(99);
    expect(saved()).toEqual([[true, { "user:u1": "unknown" }]]);
    await window();
    expect(saved().slice(1)).toEqual([[false, { "user:u1": at(0), "order:1": at(5), "order:2": "removed" }]]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(saves).toHaveLength(2);
  });

  it("never goes back within an epoch, and goes on with a new one", async () => {
    record.follow("order:1", at(5));
    await keeper.create(record);
    record.confirm("order:1", at(4));
    record.confirm("order:1", at(5));
    await window();
    expect(saves).toHaveLength(1);
    record.confirm("order:1", at(2, "f"));
    await window();
    expect(saved()[1]).toEqual([false, { "order:1": at(2, "f") }]);
  });

  it("is saved at a pace where sessions come from another home, and sooner where something changes", async () => {
    const records = Array.from({ length: 300 }, (_, index) => recordOf(`s${index}`));
    for (const each of records) keeper.keepLater(each);
    await window();
    expect(saves).toEqual([]);
    records[299]?.confirm("order:1", at(1));
    records[298]?.confirm("order:1", at(1));
    for (const each of records.slice(298, 299)) keeper.flush(each);
    expect(saves.map(({ sessionId }) => sessionId)).toEqual(["s298"]);
    await window();
    expect(saves.map(({ sessionId }) => sessionId)).toEqual(["s298", "s299"]);
    await keeper.tick();
    expect([saves.length, keeper.owed]).toEqual([202, 98]);
    await keeper.tick();
    expect([saves.length, keeper.owed]).toEqual([300, 0]);
  });

  it("says nothing of channels that an earlier home has saved", async () => {
    record.inherit(["order:1", "order:2"]);
    keeper.keep(record);
    record.follow("order:1", undefined);
    record.follow("order:2", undefined);
    record.confirm("order:2", at(9));
    await window();
    expect(saved()).toEqual([[false, { "order:2": at(9) }]]);
  });

  it("is nothing before it is kept, and after its store could not make it", async () => {
    record.follow("order:1", at(1));
    keeper.flush(record);
    isAway = true;
    await expect(keeper.create(record)).rejects.toMatchObject({ kind: "unavailable" });
    record.follow("order:2", at(1));
    await window();
    await keeper.tick();
    expect([saves.length, keeper.owed]).toEqual([1, 0]);
  });

  it("is one save at a time: what changes meanwhile comes after it", async () => {
    const slow = gate();
    answering = slow.opened;
    keeper.keep(record);
    await window();
    for (let offset = 1; offset <= 3; offset += 1) {
      record.confirm("order:1", at(offset));
      await window();
    }
    expect(saves).toHaveLength(1);
    slow.open();
    await window();
    expect(saved()[1]).toEqual([false, { "order:1": at(3) }]);
  });

  it("is saved at once when the session ends, also where a save is under way", async () => {
    const slow = gate();
    answering = slow.opened;
    keeper.keep(record);
    await window();
    record.confirm("order:1", at(1));
    keeper.flush(record);
    expect(saves).toHaveLength(1);
    slow.open();
    await vi.advanceTimersByTimeAsync(0);
    expect(saved()[1]).toEqual([false, { "order:1": at(1) }]);
    record.confirm("order:1", at(2));
    keeper.flush(record);
    expect(saved()[2]).toEqual([false, { "order:1": at(2) }]);
  });

  it("is saved before the end of the process", async () => {
    keeper.keep(record);
    record.confirm("order:1", at(1));
    await keeper.stop();
    expect(saved()).toEqual([[false, { "order:1": at(1) }]]);
  });
});

describe("a store that is away", () => {
  beforeEach(async () => {
    await keeper.create(record);
    isAway = true;
    record.follow("order:1", at(1));
    await window();
    saves.length = 0;
  });

  it("is asked again once a second, and gets the newest state", async () => {
    record.confirm("order:1", at(2));
    record.follow("order:2", at(7));
    await window();
    expect([saves.length, keeper.owed, counters.storeFailures]).toEqual([0, 1, 1]);
    await keeper.tick();
    isAway = false;
    record.unfollow("order:2");
    await keeper.tick();
    expect(saved().at(-1)).toEqual([false, { "order:1": at(2), "order:2": "removed" }]);
    expect(keeper.owed).toBe(0);
    await keeper.tick();
    expect(saves).toHaveLength(2);
  });

  it("gets what was owed at a pace", async () => {
    for (let index = 0; index < 449; index += 1) {
      const other = recordOf(`other-${index}`);
      keeper.keep(other);
    }
    await window();
    isAway = false;
    saves.length = 0;
    await keeper.tick();
    expect([saves.length, keeper.owed]).toEqual([200, 250]);
    await keeper.tick();
    await keeper.tick();
    expect(keeper.owed).toBe(0);
  });
});

it("where a store comes and goes the last session's turn comes too", async () => {
  const records = Array.from({ length: 500 }, (_, index) => recordOf(`s${index}`));
  for (const each of records) keeper.keep(each);
  await window();
  saves.length = 0;
  for (let round = 0; round < 3; round += 1) {
    keeper.refresh(records);
    await keeper.tick();
  }
  expect(new Set(saves.map(({ sessionId }) => sessionId)).size).toBe(500);
});

it("where the store is away for some, the others are not kept from it", async () => {
  const records = Array.from({ length: 300 }, (_, index) => recordOf(`s${index}`));
  for (const each of records) keeper.keepLater(each);
  isAway = true;
  await keeper.tick();
  isAway = false;
  saves.length = 0;
  await keeper.tick();
  expect(saves.slice(0, 100).map(({ sessionId }) => sessionId)).toContain("s299");
});

describe("a store that has lost the record", () => {
  it("gets all of it", async () => {
    record.follow("order:1", at(3));
    record.inherit(["order:2"]);
    keeper.keep(record);
    await window();
    outcome = "missing";
    keeper.refresh([record]);
    const ticking = keeper.tick();
    outcome = "saved";
    await ticking;
    await vi.advanceTimersByTimeAsync(0);
    expect(saved().slice(1)).toEqual([
      [false, {}],
      [true, { "order:1": at(3), "order:2": "unknown" }],
    ]);
  });
});

describe("a session that lives elsewhere", () => {
  it.each([
    ["superseded", 0],
    ["replaced", 1],
  ] as const)("is saved no more (%s)", async (answer, times) => {
    const replaced = vi.fn();
    record.onReplaced = replaced;
    await keeper.create(record);
    outcome = answer;
    record.confirm("order:1", at(1));
    await window();
    record.confirm("order:1", at(2));
    await window();
    keeper.flush(record);
    keeper.refresh([record]);
    await keeper.tick();
    expect(saves).toHaveLength(2);
    expect(replaced).toHaveBeenCalledTimes(times);
  });
});

it("endless changes while the store is away are bounded: then all is saved", async () => {
  await keeper.create(record);
  for (let index = 0; index < 300; index += 1) {
    record.follow(`order:${index}`, at(1));
    record.unfollow(`order:${index}`);
  }
  record.follow("order:left", at(1));
  await window();
  expect(saved()[1]).toEqual([true, { "order:left": at(1) }]);
});
