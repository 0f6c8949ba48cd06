import { describe, expect, it } from "vitest";
import {
  judgeLocation,
  NO_LOCATION_LIMITS,
  type DropReason,
  type LocationLimits,
  type LocationTrack,
  type MeasuredPoint,
} from "./location-sanity.js";

const LIMITS = { maxAccuracyMeters: 200, maxSpeedMetersPerSecond: 100 };
const METERS_PER_DEGREE = 111_195;

/** So far north of the equator, measured and received after so many seconds. */
function at(meters: number, seconds: number, more: Partial<MeasuredPoint> = {}): MeasuredPoint {
  return {
    latitude: meters / METERS_PER_DEGREE,
    longitude: 0,
    accuracyMeters: 0,
    measuredAtMs: seconds * 1000,
    receivedAtUs: seconds * 1_000_000,
    ...more,
  };
}

/** What is said of each, in turn. */
function judge(
  points: readonly MeasuredPoint[],
  limits: LocationLimits = LIMITS,
): (DropReason | "believed")[] {
  let track: LocationTrack | undefined;
  return points.map((point) => {
    const judgement = judgeLocation(track, point, limits);
    track = judgement.track;
    return judgement.dropped ?? "believed";
  });
}

describe("a location", () => {
  it("that was measured before the last one is outdated, at the same time it is not", () => {
    expect(judge([at(0, 10), at(1, 9), at(2, 10), at(3, 9.999), at(4, 11)])).toEqual([
      "believed",
      "outdated",
      "believed",
      "outdated",
      "believed",
    ]);
    expect(judge([at(0, 10), at(1, 9)], NO_LOCATION_LIMITS)).toEqual(["believed", "outdated"]);
  });

  it("is believed again where the device's clock was set back and half a minute has passed", () => {
    const measuredAtMs = -240_000;
    expect(
      judge([
        at(0, 10),
        at(1, 20, { measuredAtMs }),
        at(2, 40, { measuredAtMs }),
        at(3, 41, { measuredAtMs }),
      ]),
    ).toEqual(["believed", "outdated", "outdated", "believed"]);
  });

  it("that is less certain than the radius is dropped, the first too; one at the radius is not", () => {
    const accuracies = [201, 200, 1_000_000, 0];
    const points = accuracies.map((accuracyMeters, index) => at(0, index, { accuracyMeters }));
    expect(judge(points)).toEqual(["inaccurate", "believed", "inaccurate", "believed"]);
    expect(judge(points, NO_LOCATION_LIMITS)).toEqual(accuracies.map(() => "believed"));
  });

  it("that nobody can have reached is dropped, and the next one held against the last that was believed", () => {
    expect(judge([at(0, 0), at(99, 1), at(5_000, 2), at(250, 3), at(940, 10)])).toEqual([
      "believed",
      "believed",
      "impossible_speed",
      "believed",
      "believed",
    ]);
    expect(judge([at(0, 0), at(5_000, 1)], NO_LOCATION_LIMITS)).toEqual(["believed", "believed"]);
  });

  it("may be as far off as both say that they may be, and a second counts where less has passed", () => {
    const accuracyMeters = 150;
    expect(judge([at(0, 0, { accuracyMeters }), at(390, 1, { accuracyMeters })])).toEqual([
      "believed",
      "believed",
    ]);
    expect(judge([at(0, 0, { accuracyMeters }), at(410, 1, { accuracyMeters })])[1]).toBe("impossible_speed");
    expect(judge([at(0, 0), at(99, 0.01)])).toEqual(["believed", "believed"]);
  });

  it("that is wrong for once does not silence the worker: three that go together are believed", () => {
    expect(judge([at(900_000, 0), at(0, 1), at(10, 2), at(20, 3), at(30, 4)])).toEqual([
      "believed",
      "impossible_speed",
      "impossible_speed",
      "believed",
      "believed",
    ]);
  });

  it("that jumps to and fro is never believed, however long", () => {
    const points = Array.from({ length: 20 }, (_, index) =>
      at(index % 2 === 0 ? 400_000 : 900_000, index + 1),
    );
    expect(new Set(judge([at(0, 0), ...points]).slice(1))).toEqual(new Set(["impossible_speed"]));
  });
});
