import { expect, test } from "vitest";
import { accuracyOf, monotonicUs } from "../send-time.js";
import { readAccuracyText, wireNowUs, wireUs, wireUsOf, writeAccuracyText } from "./wire-time.js";

const TIMES_US = [0, 1, 10, 999_999, 1_000_000, 23_029_281_730, 799_999_999_999].map(wireUs);

test.each(TIMES_US)("the wire time %d goes through an accuracy as a double and as text", (timeUs) => {
  expect(wireUsOf(timeUs / 1_000_000)).toBe(timeUs);
  const text = Buffer.from("[xxxxxxxxxxxxx]");
  writeAccuracyText(text, 1, timeUs);
  expect(readAccuracyText(text, 1, text.length)).toBe(timeUs);
  // As others write it: the shortest text of the double.
  expect(Number(text.toString("latin1", 1, 14))).toBe(timeUs / 1_000_000);
  const shortest = Buffer.from(String(timeUs / 1_000_000));
  expect(readAccuracyText(shortest, 0, shortest.length)).toBe(timeUs);
});

test("text ends where the message ends, and what is no number is none", () => {
  const text = Buffer.from("100000.1234567");
  expect(readAccuracyText(text, 0, 9)).toBe(100_000_120_000);
  expect(readAccuracyText(Buffer.from("null"), 0, 4)).toBe(-1);
  expect(readAccuracyText(Buffer.alloc(0), 0, 0)).toBe(-1);
});

test("the clock is that of the send times", () => {
  const differences = Array.from({ length: 1000 }, () => wireNowUs() - wireUsOf(accuracyOf(monotonicUs())));
  expect(Math.min(...differences.map(Math.abs))).toBeLessThan(20);
});
