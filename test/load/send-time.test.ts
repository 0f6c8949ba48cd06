import { expect, test } from "vitest";
import { ACCURACY_CHARACTERS, accuracyOf, accuracyTextOf, latencyUs, monotonicUs } from "./send-time.js";

/** Uptimes: just booted, hours, weeks, years. */
const TIMES_US = [
  0, 1, 23_029_281_733, 799_999_999_999, 800_000_000_000, 1_234_567_890_123, 90_071_992_547_409,
];

test.each(TIMES_US)("a location sent at %d µs tells to the microsecond how long ago", (sentAtUs) => {
  for (const elapsedUs of [0, 1, 999, 1_000_000, 600_000_001]) {
    expect(latencyUs(accuracyOf(sentAtUs), sentAtUs + elapsedUs)).toBe(elapsedUs);
    expect(latencyUs(Number(accuracyTextOf(sentAtUs)), sentAtUs + elapsedUs)).toBe(elapsedUs);
  }
});

test.each(TIMES_US)("the accuracy of %d µs is one that the gateway takes, and always as long", (sentAtUs) => {
  expect(accuracyOf(sentAtUs)).toBeGreaterThanOrEqual(0);
  expect(accuracyOf(sentAtUs)).toBeLessThanOrEqual(1_000_000);
  expect(accuracyTextOf(sentAtUs)).toHaveLength(ACCURACY_CHARACTERS);
  expect(accuracyTextOf(sentAtUs)).toMatch(/^[1-9]/);
});

test("the clock counts microseconds", () => {
  const beforeUs = Number(process.hrtime.bigint() / 1000n);
  expect(monotonicUs() - beforeUs).toBeGreaterThanOrEqual(0);
  expect(monotonicUs() - beforeUs).toBeLessThan(60_000_000);
});
