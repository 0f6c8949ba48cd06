/** The index of cells in Redis: what it costs, what it forgets, and that it is only a hint. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import { locationCellKeys, locationKey } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import type { Point } from "./distance.js";
import { cellOf } from "./location-cells.js";
import type { PlacedLocation } from "./locations.js";
import { RedisLocations } from "./locations-redis.js";

const HERE: Point = { latitude: 48.15, longitude: 11.55 };
const FAR: Point = { latitude: 47.15, longitude: 11.55 };

let connection: RedisConnection;
let app: string;
let nowMs: number;
let version = Date.now() * 1000;

beforeEach(async () => {
  connection = await RedisConnection.connect({ url: inject("redisUrl") });
  app = `app-${randomUUID()}`;
  nowMs = 1_000;
});
afterEach(() => connection.close());

function home(ttlMs = 3_600_000): RedisLocations {
  return new RedisLocations({ connection, ttlMs, nowMs: () => nowMs });
}

function at(point: Point, more: Partial<PlacedLocation> = {}): PlacedLocation {
  version += 1;
  const payload = Location.encode(Location.fromPartial({ workerId: "p1", ...point })).finish();
  return { app, workerId: "p1", version, payload, point, ...more };
}

/** Who stands in the index of the cell of a place. */
async function indexed(point: Point): Promise<string[]> {
  const { places, versions } = locationCellKeys(app, cellOf(point) ?? "");
  const [inPlaces, inVersions] = await connection.run((client) =>
    Promise.all([client.zrange(places, 0, -1), client.zrange(versions, 0, -1)]),
  );
  expect(inPlaces.sort()).toEqual(inVersions.sort());
  return inPlaces;
}

const indexWrites = (): number => connection.operations().get("index-locations") ?? 0;

async function near(point: Point): Promise<string[]> {
  const found = await home().nearby({ app, center: point, radiusMeters: 500, limit: 10 });
  return found.map(({ workerId }) => workerId);
}

describe("the index of workers by cell", () => {
  it("is written where a worker has moved, and once in a minute where not", async () => {
    const locations = home();
    await locations.put([at(HERE)]);
    for (let step = 1; step <= 20; step++) {
      await locations.put([at({ ...HERE, latitude: HERE.latitude + step / 1_000_000 })]);
    }
    expect(indexWrites()).toBe(1);
    await locations.put([at({ ...HERE, latitude: HERE.latitude + 0.0005 })]);
    expect(indexWrites()).toBe(2);
    nowMs += 60_000;
    await locations.put([at({ ...HERE, latitude: HERE.latitude + 0.0005 })]);
    expect(indexWrites()).toBe(3);
  });

  it("has a worker in one cell only, as long as they stay at their home", async () => {
    const locations = home();
    await locations.put([at(HERE)]);
    await locations.put([at(FAR)]);
    expect([await indexed(HERE), await indexed(FAR)]).toEqual([[], ["p1"]]);
  });

  it("leads nowhere from where a worker was before they came to another home", async () => {
    await home().put([at(HERE)]);
    await home().put([at(FAR)]);
    expect(await indexed(HERE)).toEqual(["p1"]);
    expect([await near(HERE), await near(FAR)]).toEqual([[], ["p1"]]);
  });

  it("finds who is there behind any number of entries that lead nowhere", async () => {
    const crowd = Array.from({ length: 300 }, (_, index) => ({ workerId: `gone${index}` }));
    await home().put(crowd.map((worker) => at(HERE, worker)));
    await home().put(crowd.map((worker) => at(FAR, worker)));
    await home().put([at({ ...HERE, latitude: HERE.latitude + 0.003 })]);
    const found = await home().nearby({ app, center: HERE, radiusMeters: 500, limit: 1 });
    expect(found.map(({ workerId }) => workerId)).toEqual(["p1"]);
    expect(connection.operations().get("find-nearby")).toBeGreaterThan(2);
  });

  it("keeps the newer entry when a home comes late", async () => {
    const late = at({ ...HERE, latitude: HERE.latitude + 0.02 });
    await home().put([at(HERE)]);
    await home().put([late]);
    expect(await near(HERE)).toEqual(["p1"]);
  });

  it("finds nobody whose last known location is over, and forgets them with the next change or look", async () => {
    await home().put([at(HERE)]);
    await connection.run((client) => client.del(locationKey(app, "p1").key));
    expect(await near(HERE)).toEqual([]);
    const hours = 2 * 3_600_000_000;
    await home().put([at(HERE, { workerId: "p2", version: version - hours })]);
    await home().put([at(HERE, { workerId: "p3", version: version - hours })]);
    await home().put([at(HERE, { workerId: "p4" })]);
    expect(await indexed(HERE)).toEqual(["p1", "p4"]);
  });

  it("has a lifetime as a whole, a little longer than that of locations", async () => {
    await home(5_000).put([at(HERE)]);
    const { places, versions } = locationCellKeys(app, cellOf(HERE) ?? "");
    for (const key of [places, versions]) {
      const ttlMs = await connection.run((client) => client.pttl(key));
      expect(ttlMs).toBeGreaterThan(590_000);
      expect(ttlMs).toBeLessThanOrEqual(605_000);
    }
  });

  it("is written again after a failure", async () => {
    const locations = home();
    const { places } = locationCellKeys(app, cellOf(HERE) ?? "");
    await connection.run((client) => client.set(places, "not a set"));
    await expect(locations.put([at(HERE)])).rejects.toMatchObject({ kind: "unavailable" });
    await connection.run((client) => client.del(places));
    await locations.put([at(HERE)]);
    expect(await near(HERE)).toEqual(["p1"]);
  });
});
