import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FlushInterval } from "./flush-pace.js";

let nowMs = 0;
let flushes: string[] = [];
let pace: FlushInterval;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "setImmediate"] });
  nowMs = 1000;
  flushes = [];
  pace = new FlushInterval(5, () => nowMs);
});

afterEach(() => {
  vi.useRealTimers();
});

const schedule = (name: string): void => pace.schedule(() => flushes.push(name));

function pass(durationMs: number): void {
  nowMs += durationMs;
  vi.advanceTimersByTime(durationMs);
}

describe("a flush interval", () => {
  it("lets what comes after a quiet time leave at the end of the turn", () => {
    schedule("first");
    expect(flushes).toEqual([]);
    pass(0);
    expect(flushes).toEqual(["first"]);
    pass(50);
    schedule("second");
    pass(0);
    expect(flushes).toEqual(["first", "second"]);
  });

  it("lets what comes soon after leave when the interval is over, all of it together", () => {
    schedule("first");
    pass(0);
    pass(2);
    schedule("second");
    pass(1);
    schedule("third");
    expect(flushes).toEqual(["first"]);
    pass(2);
    expect(flushes).toEqual(["first", "second", "third"]);
  });

  it("takes up again what is scheduled while it flushes", () => {
    pace.schedule(() => schedule("again"));
    pass(0);
    expect(flushes).toEqual([]);
    pass(5);
    expect(flushes).toEqual(["again"]);
  });
});
