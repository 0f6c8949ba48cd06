/** Locations in memory: the contract, and how they are forgotten. */
import { expect, it } from "vitest";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import { MemoryLocations } from "./locations-memory.js";
import { describeLocations } from "./locations.contract.js";
import { describeNearby } from "./nearby.contract.js";

const harness = async () => ({ locations: new MemoryLocations(), close: async () => undefined });

describeLocations("locations in memory", harness);
describeNearby("workers nearby, in memory", harness);

it("forgets a location after its lifetime, and what nobody asks for with the next sweep", async () => {
  let nowMs = 1_000_000;
  const locations = new MemoryLocations({ clock: { nowUs: () => nowMs * 1000 }, ttlMs: 1_000 });
  const point = { latitude: 1, longitude: 1 };
  const payload = Buffer.from(Location.encode(Location.fromPartial(point)).finish());
  const location = { app: "app", workerId: "p1", version: 9, payload };
  const search = { app: "app", center: point, radiusMeters: 1, limit: 1 };
  await locations.put([{ ...location, point }]);
  nowMs += 999;
  expect(await locations.get("app", "p1")).toEqual(location);
  expect(await locations.nearby(search)).toHaveLength(1);
  nowMs += 1;
  expect(await locations.nearby(search)).toEqual([]);
  expect(await locations.get("app", "p1")).toBeUndefined();
  await locations.put([{ ...location, version: 1 }]);
  expect((await locations.get("app", "p1"))?.version).toBe(1);
  nowMs += 100_000;
  await locations.put([{ ...location, workerId: "p2" }]);
  expect(locations.size).toBe(1);
});
