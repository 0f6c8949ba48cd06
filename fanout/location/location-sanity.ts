/**
 * Whether a worker's location can be believed, held against the last one of the same session that was: a pure
 * decision over a state of at most two points. A device's clock orders its own session only. What is not believed
 * is dropped for now, never for good: three points in a row that go together beat the one they contradict, and a
 * clock that was set back is found out after half a minute.
 */
import { metersBetween, type Point } from "./distance.js";

export interface LocationLimits {
  /** A fix that is less certain is dropped. 0: none is. */
  readonly maxAccuracyMeters: number;
  /** Nobody moves faster. 0: anybody may. */
  readonly maxSpeedMetersPerSecond: number;
}

export const NO_LOCATION_LIMITS: LocationLimits = { maxAccuracyMeters: 0, maxSpeedMetersPerSecond: 0 };

export interface MeasuredPoint extends Point {
  /** 0 where the device did not say. */
  readonly accuracyMeters: number;
  /** By the device's clock. */
  readonly measuredAtMs: number;
  /** When the edge read it. */
  readonly receivedAtUs: number;
}

/** What is remembered of a session's locations. */
export interface LocationTrack {
  readonly accepted: MeasuredPoint;
  /** The last point that could not be reached from `accepted`. */
  readonly doubted?: MeasuredPoint | undefined;
  /** How many in a row go together with it, itself included. */
  readonly doubts: number;
}

export type DropReason = "outdated" | "inaccurate" | "impossible_speed";

export interface Judgement {
  readonly track: LocationTrack | undefined;
  /** Absent where the point is believed. */
  readonly dropped?: DropReason;
}

/** Clocks of devices tell whole seconds, some of them. */
const SHORTEST_SECONDS = 1;
const DOUBTS_THAT_CONVINCE = 3;
const CLOCK_WAS_SET_BACK_US = 30_000_000;

export function judgeLocation(
  track: LocationTrack | undefined,
  point: MeasuredPoint,
  limits: LocationLimits,
): Judgement {
  if (track !== undefined && isOutdated(track.accepted, point)) return { track, dropped: "outdated" };
  if (limits.maxAccuracyMeters > 0 && point.accuracyMeters > limits.maxAccuracyMeters) {
    return { track, dropped: "inaccurate" };
  }
  if (track === undefined || isReachable(track.accepted, point, limits)) return believe(point);
  const { accepted, doubted } = track;
  const goesTogether = doubted !== undefined && isReachable(doubted, point, limits);
  const doubts = goesTogether ? track.doubts + 1 : 1;
  if (doubts >= DOUBTS_THAT_CONVINCE) return believe(point);
  return { track: { accepted, doubted: point, doubts }, dropped: "impossible_speed" };
}

function believe(point: MeasuredPoint): Judgement {
  return { track: { accepted: point, doubts: 0 } };
}

/** Measured before what was accepted; but not where nothing newer has come for so long. */
function isOutdated(accepted: MeasuredPoint, point: MeasuredPoint): boolean {
  if (point.measuredAtMs >= accepted.measuredAtMs) return false;
  return point.receivedAtUs - accepted.receivedAtUs <= CLOCK_WAS_SET_BACK_US;
}

/** In the time between, and in favour of both: each may be off by its accuracy. */
function isReachable(from: MeasuredPoint, to: MeasuredPoint, limits: LocationLimits): boolean {
  const { maxSpeedMetersPerSecond } = limits;
  if (maxSpeedMetersPerSecond === 0) return true;
  // Where the device's clock was set back the gateway's tells how long it took.
  const measuredSeconds = (to.measuredAtMs - from.measuredAtMs) / 1000;
  const receivedSeconds = (to.receivedAtUs - from.receivedAtUs) / 1_000_000;
  const seconds = Math.max(measuredSeconds < 0 ? receivedSeconds : measuredSeconds, SHORTEST_SECONDS);
  const meters = metersBetween(from, to) - from.accuracyMeters - to.accuracyMeters;
  return meters <= maxSpeedMetersPerSecond * seconds;
}
