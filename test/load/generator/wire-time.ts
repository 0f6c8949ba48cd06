/**
 * Send times within the generator: whole microseconds, as the accuracy of a location carries them
 * (`../send-time.ts`), so that what is read from a frame is compared and subtracted without any conversion.
 * A run during which the accuracy starts again (every nine days of uptime) is void.
 */
import { accuracyOf, monotonicUs } from "../send-time.js";

const US_PER_SECOND = 1_000_000;
const CLOCK_SAMPLES = 100;

/** A time of the monotonic clock as the wire has it. */
export function wireUs(sentAtUs: number): number {
  return wireUsOf(accuracyOf(sentAtUs));
}

export function wireUsOf(accuracy: number): number {
  return Math.round(accuracy * US_PER_SECOND);
}

export function wireNowUs(): number {
  return Math.floor(performance.now() * 1000 + PROCESS_STARTED_US);
}

/** The clock of `performance.now` is the monotonic one from another start, and cheaper to read. */
const PROCESS_STARTED_US = processStartedUs();

/** Read from both clocks many times: this process may be stopped between two readings, but not every time. */
function processStartedUs(): number {
  let startedUs = 0;
  let leastGapUs = Infinity;
  for (let sample = 0; sample < CLOCK_SAMPLES; sample += 1) {
    const beforeUs = performance.now() * 1000;
    const wire = wireUs(monotonicUs());
    const gapUs = performance.now() * 1000 - beforeUs;
    if (gapUs >= leastGapUs) continue;
    leastGapUs = gapUs;
    startedUs = wire - beforeUs - gapUs / 2;
  }
  return startedUs;
}

/** Writes the accuracy of a wire time as text over the thirteen bytes from `start` on. */
export function writeAccuracyText(bytes: Uint8Array, start: number, timeUs: number): void {
  let rest = timeUs;
  for (let index = LAST; index >= 0; index -= 1) {
    if (index === POINT_AT) {
      bytes[start + index] = POINT;
      continue;
    }
    const tenth = Math.floor(rest / 10);
    bytes[start + index] = ZERO + (rest - tenth * 10);
    rest = tenth;
  }
}

const ZERO = 0x30;
const POINT = 0x2e;
const POINT_AT = 6;
const LAST = 12;

/** Reads the wire time from an accuracy as JSON writes it, zeros at its end left out; -1 where there is none. */
export function readAccuracyText(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  let index = start;
  for (; index < end; index += 1) {
    const digit = (bytes[index] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  if (index === start) return -1;
  let missing = 6;
  if (index < end && bytes[index] === POINT) {
    for (index += 1; index < end && missing > 0; index += 1) {
      const digit = (bytes[index] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      missing -= 1;
    }
  }
  return value * (POWERS_OF_TEN[missing] ?? 1);
}

const POWERS_OF_TEN = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];
