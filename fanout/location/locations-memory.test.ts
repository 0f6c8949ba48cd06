/** Locations in memory: the contract, and how they are forgotten. */
import { expect, it } from "vitest";
import { MemoryLocations } from "./locations-memory.js";
import { describeLocations } from "./locations.contract.js";

describeLocations("locations in memory", async () => ({
  locations: new MemoryLocations(),
  close: async () => undefined,
}));

it("forgets a location after its lifetime, and what nobody asks for with the next sweep", async () => {
  let nowMs = 1_000_000;
  const locations = new MemoryLocations({ clock: { nowUs: () => nowMs * 1000 }, ttlMs: 1_000 });
  const location = { app: "app", workerId: "p1", version: 9, payload: Buffer.from("x") };
  await locations.put([location]);
  nowMs += 999;
  expect(await locations.get("app", "p1")).toEqual(location);
  nowMs += 1;
  expect(await locations.get("app", "p1")).toBeUndefined();
  await locations.put([{ ...location, version: 1 }]);
  expect((await locations.get("app", "p1"))?.version).toBe(1);
  nowMs += 100_000;
  await locations.put([{ ...location, workerId: "p2" }]);
  expect(locations.size).toBe(1);
});
