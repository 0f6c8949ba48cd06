import { beforeEach, describe, expect, it } from "vitest";
import { TypingStates } from "./typing-states.js";

const nobodyIsGone = (): boolean => false;
let states: TypingStates<string>;

beforeEach(() => {
  states = new TypingStates({ ttlMs: 6_000, maxStates: 3 });
});

const start = (key: string, nowMs: number): boolean => states.start(key, key, nowMs).isNews;

describe("typing", () => {
  it("is news when it starts and when it stops", () => {
    expect(start("a", 0)).toBe(true);
    expect(states.stop("a")).toBe(true);
    expect(states.stop("a")).toBe(false);
    expect(start("a", 1)).toBe(true);
  });

  it("that is said again is told again for those who came later, but not each time", () => {
    expect([0, 1_000, 2_999, 3_000, 4_000, 5_999, 6_000].map((nowMs) => start("a", nowMs))).toEqual([
      true,
      false,
      false,
      true,
      false,
      false,
      true,
    ]);
  });

  it("ends by itself, once, and each renewal puts it off", () => {
    start("a", 0);
    start("b", 1_000);
    start("a", 5_000);
    expect(states.takeOver(6_999, nobodyIsGone)).toEqual([]);
    expect(states.takeOver(7_000, nobodyIsGone)).toEqual(["b"]);
    expect(states.takeOver(10_999, nobodyIsGone)).toEqual([]);
    expect(states.takeOver(11_000, nobodyIsGone)).toEqual(["a"]);
    expect(states.takeOver(20_000, nobodyIsGone)).toEqual([]);
    expect(states.size).toBe(0);
  });

  it("ends with its typist", () => {
    start("a", 0);
    start("b", 0);
    expect(states.takeOver(1, (typist) => typist === "a")).toEqual(["a"]);
    expect(states.size).toBe(1);
  });

  it("of one too many ends that of who was renewed longest ago", () => {
    for (const [nowMs, key] of ["a", "b", "c"].entries()) start(key, nowMs);
    start("a", 3);
    expect(states.start("d", "d", 4)).toEqual({ isNews: true, ended: "b" });
    expect(states.size).toBe(3);
    expect(states.stop("b")).toBe(false);
  });
});
