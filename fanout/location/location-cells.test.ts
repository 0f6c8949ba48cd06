import { describe, expect, it } from "vitest";
import { metersBetween } from "./distance.js";
import { cellOf, cellsWithin, MAX_LATITUDE } from "./location-cells.js";

/** The same ones every time. */
function* places(count: number): Generator<{ latitude: number; longitude: number }> {
  let state = 7;
  const next = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  for (let index = 0; index < count; index++) {
    yield { latitude: (next() * 2 - 1) * MAX_LATITUDE, longitude: (next() * 2 - 1) * 180 };
  }
}

describe("cells", () => {
  it("that a circle touches hold every place in it, wherever on earth", () => {
    const missing: object[] = [];
    for (const center of [
      ...places(100),
      { latitude: 0, longitude: 180 },
      { latitude: 0, longitude: -180 },
      { latitude: MAX_LATITUDE, longitude: 179.99 },
      { latitude: -MAX_LATITUDE, longitude: 0 },
    ]) {
      for (const radiusMeters of [100, 5_000, 50_000]) {
        const cells = new Set(cellsWithin(center, radiusMeters));
        for (let step = 0; step < 32; step++) {
          const angle = (step / 32) * 2 * Math.PI;
          const reach = (radiusMeters * 0.99) / 111_195;
          const latitude = center.latitude + reach * Math.sin(angle);
          const east = (reach * Math.cos(angle)) / Math.cos((center.latitude * Math.PI) / 180);
          const longitude = ((center.longitude + east + 540) % 360) - 180;
          const place = { latitude, longitude };
          const cell = cellOf(place);
          if (cell === undefined || metersBetween(center, place) > radiusMeters) continue;
          if (!cells.has(cell)) missing.push({ center, place, radiusMeters });
        }
      }
    }
    expect(missing).toEqual([]);
  });

  it("are few, everywhere", () => {
    const centers = [...places(100)];
    const most = (radiusMeters: number): number =>
      Math.max(...centers.map((center) => cellsWithin(center, radiusMeters).length));
    expect(most(50_000)).toBeLessThan(170);
    expect(most(1_000)).toBeLessThanOrEqual(6);
  });

  it("are one where east meets west, and none near the poles", () => {
    expect(cellOf({ latitude: 10, longitude: 180 })).toBe(cellOf({ latitude: 10, longitude: -180 }));
    expect(cellOf({ latitude: 85.01, longitude: 0 })).toBeUndefined();
    expect(cellOf({ latitude: -90, longitude: 0 })).toBeUndefined();
  });
});
