import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RestingPace } from "./flush-pace.js";

const INTERVAL_MS = 5;

let nowMs = 0;
let happened: string[] = [];
let pace: RestingPace;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "setImmediate"] });
  nowMs = 1000;
  happened = [];
  const rest = (durationMs: number): void => {
    nowMs += durationMs;
    happened.push(`rested ${durationMs} ms`);
  };
  pace = new RestingPace({ intervalMs: INTERVAL_MS, nowMs: () => nowMs, rest });
});

afterEach(() => {
  vi.useRealTimers();
});

const schedule = (name: string): void => pace.schedule(() => happened.push(name));

/** The turn of the event loop ends, and so does the next one where something is left to do. */
const endTurns = (): void => void vi.runAllTimers();

describe("a resting pace", () => {
  it("lets what comes after a quiet time leave at the end of the turn, without a rest", () => {
    schedule("first");
    expect(happened).toEqual([]);
    endTurns();
    nowMs += 50;
    schedule("second");
    endTurns();
    expect(happened).toEqual(["first", "second"]);
  });

  it("rests for what is left of the interval where more comes soon after, and sends it then", () => {
    schedule("first");
    endTurns();
    nowMs += 2;
    schedule("second");
    schedule("third");
    endTurns();
    expect(happened).toEqual(["first", "rested 3 ms", "second", "third"]);
  });

  it("sends with it what was read in the turn behind the rest", () => {
    schedule("first");
    endTurns();
    schedule("second");
    vi.advanceTimersToNextTimer();
    expect(happened).toEqual(["first", "rested 5 ms"]);
    schedule("read meanwhile");
    endTurns();
    expect(happened).toEqual(["first", "rested 5 ms", "second", "read meanwhile"]);
  });

  it("does not rest where the work itself has taken the interval", () => {
    schedule("first");
    endTurns();
    nowMs += 2;
    schedule("second");
    nowMs += INTERVAL_MS;
    endTurns();
    expect(happened).toEqual(["first", "second"]);
  });

  it("takes up again what is scheduled while it flushes", () => {
    pace.schedule(() => schedule("again"));
    endTurns();
    expect(happened).toEqual(["rested 5 ms", "again"]);
  });

  it("waits without a rest while an answer is awaited through the process", async () => {
    schedule("first");
    endTurns();
    let answer: (what: string) => void = () => undefined;
    const awaited = pace.awake(new Promise<string>((resolve) => (answer = resolve)));
    schedule("second");
    vi.advanceTimersByTime(INTERVAL_MS - 1);
    expect(happened).toEqual(["first"]);
    endTurns();
    expect(happened).toEqual(["first", "second"]);
    answer("done");
    await expect(awaited).resolves.toBe("done");
    nowMs += 1;
    schedule("third");
    endTurns();
    expect(happened).toEqual(["first", "second", "rested 4 ms", "third"]);
  });

  it("never rests for longer than its interval, whatever the clock says", () => {
    schedule("first");
    endTurns();
    nowMs -= 1000;
    schedule("second");
    endTurns();
    expect(happened).toEqual(["first", "rested 5 ms", "second"]);
  });
});
