/**
 * How a send time travels: as the accuracy of a location, which the gateway takes from 0 to 1,000,000 (m).
 * So it is seconds with six decimals, of the machine's monotonic clock, folded into six digits before the
 * point: as text it always has 13 characters (which a prebuilt frame can be patched with), as a double no
 * microsecond is lost. What sends and receives must be one machine, and be less than nine days apart.
 */

const MICROSECONDS_PER_SECOND = 1_000_000;
const FIRST_SECOND = 100_000;
/** After so many microseconds the value starts again. */
const PERIOD_US = 800_000 * MICROSECONDS_PER_SECOND;

/** Of the text of every accuracy that is written here; JSON of others may have dropped zeros at its end. */
export const ACCURACY_CHARACTERS = 13;

/** Microseconds of CLOCK_MONOTONIC: the same clock in all processes of the machine. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** What a location sent at this time says as its accuracy. */
export function accuracyOf(sentAtUs: number): number {
  return FIRST_SECOND + (sentAtUs % PERIOD_US) / MICROSECONDS_PER_SECOND;
}

/** The same as a text of 13 characters. */
export function accuracyTextOf(sentAtUs: number): string {
  return accuracyOf(sentAtUs).toFixed(6);
}

/** How long ago the location with this accuracy was sent. */
export function latencyUs(accuracy: number, nowUs: number): number {
  const sentUs = Math.round((accuracy - FIRST_SECOND) * MICROSECONDS_PER_SECOND);
  return ((nowUs % PERIOD_US) - sentUs + PERIOD_US) % PERIOD_US;
}
