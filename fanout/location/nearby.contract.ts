/** What every implementation of the locations port promises to who looks nearby, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import { metersBetween, type Point } from "./distance.js";
import type { LocationsHarness } from "./locations.contract.js";
import { MAX_LATITUDE } from "./location-cells.js";
import type { Locations, NearbySearch, PlacedLocation } from "./locations.js";

const BERLIN: Point = { latitude: 52.52, longitude: 13.405 };
const METERS_PER_DEGREE = 111_195;

export function describeNearby(name: string, makeHarness: () => Promise<LocationsHarness>): void {
  describe(name, () => {
    let harness: LocationsHarness;
    let locations: Locations;
    let app: string;
    let version = Date.now() * 1000;

    beforeEach(async () => {
      harness = await makeHarness();
      locations = harness.locations;
      app = `app-${randomUUID()}`;
    });
    afterEach(() => harness.close());

    /** Newer than all before. */
    function at(workerId: string, point: Point): PlacedLocation {
      version += 1;
      const payload = Location.encode(Location.fromPartial({ workerId, ...point })).finish();
      return { app, workerId, version, payload, point };
    }

    function moved(point: Point, meters: { readonly north?: number; readonly east?: number }): Point {
      const { north = 0, east = 0 } = meters;
      const narrowing = Math.cos((point.latitude * Math.PI) / 180);
      return {
        latitude: point.latitude + north / METERS_PER_DEGREE,
        longitude: point.longitude + east / METERS_PER_DEGREE / narrowing,
      };
    }

    async function near(center: Point, more: Partial<NearbySearch> = {}): Promise<string[]> {
      const found = await locations.nearby({ app, center, radiusMeters: 1_000, limit: 10, ...more });
      return found.map(({ workerId }) => workerId);
    }

    it("finds who is within the radius, the nearest first, and says how far away", async () => {
      await locations.put([
        at("far", moved(BERLIN, { north: 990 })),
        at("near", moved(BERLIN, { east: -20 })),
        at("beyond", moved(BERLIN, { north: 1_010 })),
        at("here", BERLIN),
        at("elsewhere", moved(BERLIN, { north: 400_000 })),
      ]);
      const found = await locations.nearby({ app, center: BERLIN, radiusMeters: 1_000, limit: 10 });
      expect(found.map(({ workerId }) => workerId)).toEqual(["here", "near", "far"]);
      expect(found[2]?.distanceMeters).toBeCloseTo(990, 1);
      expect(found[1]).toMatchObject({ version: version - 3, location: { workerId: "near" } });
      expect(await near(BERLIN, { limit: 2 })).toEqual(["here", "near"]);
    });

    it("finds nobody of another app, nor who has no place", async () => {
      const { point, ...unplaced } = at("p1", BERLIN);
      await locations.put([unplaced, { ...at("p2", BERLIN), app: `${app}x` }]);
      expect(point).toEqual(BERLIN);
      expect(await near(BERLIN)).toEqual([]);
      expect(await near(BERLIN, { app: `${app}x` })).toEqual(["p2"]);
    });

    it("finds a worker where they are, not where they were, however far they went", async () => {
      for (const meters of [0, 30, 60, 900, 9_000, 500_000, 30, 0]) {
        await locations.put([at("p1", moved(BERLIN, { north: meters }))]);
        for (const other of [0, 900, 9_000, 500_000]) {
          const found = await near(moved(BERLIN, { north: other }), { radiusMeters: 100 });
          expect(found).toEqual(Math.abs(other - meters) <= 100 ? ["p1"] : []);
        }
      }
    });

    it("goes by the exact place also where a worker moves a little at a time", async () => {
      for (let meters = 0; meters <= 200; meters += 7) {
        await locations.put([at("p1", moved(BERLIN, { east: meters }))]);
        expect(await near(moved(BERLIN, { east: meters + 10 }), { radiusMeters: 11 })).toEqual(["p1"]);
        expect(await near(moved(BERLIN, { east: meters + 12 }), { radiusMeters: 11 })).toEqual([]);
      }
    });

    it("never goes back to an older place", async () => {
      const older = at("p1", moved(BERLIN, { north: 30_000 }));
      await locations.put([at("p1", BERLIN)]);
      await locations.put([older]);
      expect(await near(BERLIN)).toEqual(["p1"]);
      expect(await near(moved(BERLIN, { north: 30_000 }))).toEqual([]);
    });

    it.each<[string, Point]>([
      ["the date line", { latitude: -17, longitude: 180 }],
      ["a place west of the date line", { latitude: -17, longitude: 179.9995 }],
      ["a place east of the date line", { latitude: 52, longitude: -179.9999 }],
      ["the equator and Greenwich", { latitude: 0, longitude: 0 }],
      ["the far north", { latitude: MAX_LATITUDE, longitude: 20 }],
      ["the far south", { latitude: -MAX_LATITUDE, longitude: -179.999 }],
    ])("finds all around %s", async (_, center) => {
      const around = [
        moved(center, { north: 900 }),
        moved(center, { north: -900 }),
        moved(center, { east: 900 }),
        moved(center, { east: -900 }),
      ]
        .map(({ latitude, longitude }) => ({
          latitude,
          longitude: longitude > 180 ? longitude - 360 : longitude < -180 ? longitude + 360 : longitude,
        }))
        .filter(({ latitude }) => Math.abs(latitude) <= MAX_LATITUDE);
      await locations.put(around.map((point, index) => at(`p${index}`, point)));
      const found = await near(center, { radiusMeters: 1_000 });
      expect(found.sort()).toEqual(around.map((_, index) => `p${index}`));
    });

    it("takes a location near a pole, which nobody finds", async () => {
      const point = { latitude: 89, longitude: 0 };
      await locations.put([at("p1", point)]);
      expect((await locations.get(app, "p1"))?.workerId).toBe("p1");
      expect(await near({ latitude: MAX_LATITUDE, longitude: 0 }, { radiusMeters: 50_000 })).toEqual([]);
    });

    it("finds the nearest of a crowd, over many cells, in the right order", async () => {
      let state = 11;
      const next = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
      const crowd = Array.from({ length: 1_500 }, (_, index) =>
        at(`p${index}`, moved(BERLIN, { north: 80_000 * (next() - 0.5), east: 80_000 * (next() - 0.5) })),
      );
      await locations.put(crowd);
      for (const [radiusMeters, limit] of [
        [50_000, 1_000],
        [20_000, 100],
        [3_000, 100],
      ] as const) {
        const expected = crowd
          .map(({ workerId, point = BERLIN }) => ({ workerId, meters: metersBetween(BERLIN, point) }))
          .filter(({ meters }) => meters <= radiusMeters)
          .sort((left, right) => left.meters - right.meters)
          .slice(0, limit);
        expect(await near(BERLIN, { radiusMeters, limit })).toEqual(expected.map(({ workerId }) => workerId));
      }
    });

    it("takes any text for an id", async () => {
      const ids = ["p1", "a:b", "{x}", "*", "a\nb", "é"];
      await locations.put(ids.map((workerId) => at(workerId, BERLIN)));
      expect((await near(BERLIN)).sort()).toEqual([...ids].sort());
    });
  });
}
