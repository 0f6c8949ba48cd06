import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Deadlines } from "./deadlines.js";

const START_MS = 1_700_000_000_000;

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS, toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => vi.useRealTimers());

interface Item {
  readonly name: string;
}

function deadlines() {
  const due: string[] = [];
  const waiting = new Deadlines<Item>({ nowMs: Date.now, due: ({ name }) => due.push(name) });
  return { waiting, due, after: (item: Item, ms: number) => waiting.set(item, START_MS + ms) };
}
const item = (name: string): Item => ({ name });

describe("deadlines", () => {
  it("come in their order, each in its millisecond, whatever the order in which they were set", () => {
    const { due, after } = deadlines();
    for (const ms of [300, 100, 200, 100]) after(item(`${ms}`), ms);
    vi.advanceTimersByTime(99);
    expect(due).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(due).toEqual(["100", "100"]);
    vi.advanceTimersByTime(199);
    expect(due).toEqual(["100", "100", "200"]);
    vi.advanceTimersByTime(1);
    expect(due).toEqual(["100", "100", "200", "300"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("are replaced, later and earlier, and deleted", () => {
    const { waiting, due, after } = deadlines();
    const [moved, sooner, gone] = [item("moved"), item("sooner"), item("gone")];
    after(moved, 100);
    after(sooner, 500);
    after(gone, 50);
    after(moved, 200);
    after(sooner, 20);
    waiting.delete(gone);
    vi.advanceTimersByTime(150);
    expect(due).toEqual(["sooner"]);
    vi.advanceTimersByTime(1000);
    expect(due).toEqual(["sooner", "moved"]);
    expect([waiting.size, waiting.moments]).toEqual([0, 0]);
  });

  it("leave nothing behind when they are deleted, however far ahead they are", () => {
    const { waiting, due, after } = deadlines();
    const kept = item("kept");
    after(kept, 50);
    for (let index = 1; index <= 1000; index += 1) {
      const gone = item("gone");
      after(gone, index * 86_400_000);
      waiting.delete(gone);
    }
    expect([waiting.size, waiting.moments]).toEqual([1, 1]);
    vi.advanceTimersByTime(50);
    expect(due).toEqual(["kept"]);
  });

  it("that have passed come in the next turn, and may be set again from within", () => {
    let rounds = 0;
    const one = item("one");
    const waiting: Deadlines<Item> = new Deadlines({
      nowMs: Date.now,
      due: (each) => {
        rounds += 1;
        if (rounds < 3) waiting.set(each, START_MS + rounds * 10);
      },
    });
    waiting.set(one, START_MS - 5);
    expect(rounds).toBe(0);
    vi.advanceTimersByTime(0);
    expect(rounds).toBe(1);
    vi.advanceTimersByTime(100);
    expect(rounds).toBe(3);
  });

  it("many of one moment do not take one turn", () => {
    const { due, after } = deadlines();
    for (let index = 0; index < 1200; index += 1) after(item(`${index}`), 10);
    vi.advanceTimersToNextTimer();
    expect(due).toHaveLength(500);
    vi.advanceTimersByTime(5);
    expect(due).toHaveLength(1200);
    expect(due).toEqual(Array.from({ length: 1200 }, (_, index) => `${index}`));
  });

  it("follow a clock that was set forward within a minute, and one that was set back exactly", () => {
    const { due, after } = deadlines();
    after(item("far"), 3_600_000);
    vi.setSystemTime(START_MS + 3_600_000);
    vi.advanceTimersByTime(60_000);
    expect(due).toEqual(["far"]);
    vi.setSystemTime(START_MS);
    after(item("near"), 1000);
    vi.setSystemTime(START_MS - 5000);
    vi.advanceTimersByTime(5999);
    expect(due).toEqual(["far"]);
    vi.advanceTimersByTime(1);
    expect(due).toEqual(["far", "near"]);
  });

  it("end when they are stopped", () => {
    const { waiting, due, after } = deadlines();
    after(item("never"), 10);
    waiting.stop();
    vi.advanceTimersByTime(1000);
    expect(due).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
