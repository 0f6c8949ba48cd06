/** What every implementation of the locations port promises of single workers, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KnownLocation, Locations } from "./locations.js";

export interface LocationsHarness {
  readonly locations: Locations;
  close(): Promise<void>;
}

export function describeLocations(name: string, makeHarness: () => Promise<LocationsHarness>): void {
  describe(name, () => {
    let harness: LocationsHarness;
    let locations: Locations;
    let app: string;

    beforeEach(async () => {
      harness = await makeHarness();
      locations = harness.locations;
      app = `app-${randomUUID()}`;
    });
    afterEach(() => harness.close());

    function at(workerId: string, version: number, text = `${workerId} at ${version}`): KnownLocation {
      return { app, workerId, version, payload: Buffer.from(text) };
    }

    it("knows the last location of a worker, and nothing of others", async () => {
      await locations.put([at("p1", 1)]);
      expect(await locations.get(app, "p1")).toEqual(at("p1", 1));
      expect(await locations.get(app, "p2")).toBeUndefined();
      expect(await locations.get(`${app}x`, "p1")).toBeUndefined();
    });

    it("never goes back to an older version, in one put or in several", async () => {
      await locations.put([at("p1", 5), at("p1", 7), at("p1", 6)]);
      expect((await locations.get(app, "p1"))?.version).toBe(7);
      await locations.put([at("p1", 7, "the same version")]);
      expect(await locations.get(app, "p1")).toEqual(at("p1", 7));
      const microseconds = 1_790_000_000_000_001;
      await locations.put([at("p1", microseconds)]);
      await locations.put([at("p1", microseconds - 1)]);
      expect(await locations.get(app, "p1")).toEqual(at("p1", microseconds));
    });

    it("ends at the greatest version under concurrent puts", async () => {
      const versions = Array.from({ length: 50 }, (_, index) => ((index * 37) % 50) + 1);
      await Promise.all(versions.map((version) => locations.put([at("p1", version)])));
      expect(await locations.get(app, "p1")).toEqual(at("p1", 50));
    });

    it("keeps a thousand workers from one put", async () => {
      const many = Array.from({ length: 1_000 }, (_, index) => at(`p${index}`, index + 1));
      await locations.put(many);
      const read = await Promise.all(many.map(({ workerId }) => locations.get(app, workerId)));
      expect(read).toEqual(many);
    });

    it("keeps payloads of all byte values, and takes any text for an id", async () => {
      const payload = Buffer.from(Uint8Array.from({ length: 256 }, (_, index) => index));
      for (const workerId of ["p1", "a:b", "{x}", "*", "a\nb", "", "é"]) {
        const location: KnownLocation = { app, workerId, version: 1, payload };
        await locations.put([location]);
        expect(await locations.get(app, workerId)).toEqual(location);
      }
    });

    it("knows several workers at once, in the order asked for", async () => {
      await locations.put([at("p1", 1), at("p2", 2)]);
      const asked = ["p2", "nobody", "p1", "p2"];
      expect(await locations.getMany(app, asked)).toEqual([at("p2", 2), undefined, at("p1", 1), at("p2", 2)]);
      expect(await locations.getMany(app, [])).toEqual([]);
    });

    it("takes an empty put", async () => {
      await expect(locations.put([])).resolves.toBeUndefined();
    });
  });
}
