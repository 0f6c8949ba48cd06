import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import type { ApiClient, Json } from "./api-client.js";
import { ApiHarness } from "./api-harness.js";

const NOW_US = Date.now() * 1000;
const HERE = { latitude: 52.5, longitude: 13.4 };

let harness: ApiHarness;
let client: ApiClient;

beforeAll(async () => {
  harness = await ApiHarness.start();
  client = harness.client();
  for (const [index, workerId] of ["p1", "p2", "p3"].entries()) {
    const point = { ...HERE, latitude: HERE.latitude + index / 1_000 };
    const payload = Location.encode(Location.fromPartial({ workerId, ...point, measuredAtMs: 1 })).finish();
    await harness.locations.put([{ app: "default", workerId, version: NOW_US, payload, point }]);
  }
  await harness.presence.connect({
    ...{ app: "default", userId: "p2", connectionId: "c" },
    ...{ generation: 1, place: "p" },
  });
  await harness.presence.setAvailable({ app: "default", userId: "p2", isAvailable: true, saidAtUs: 1 });
});

afterAll(() => harness.stop());

async function call(method: string, request: Json): Promise<Record<string, unknown>> {
  const { response } = await client.call("LocationService", method, request);
  return response;
}

const INVALID_ARGUMENT = 3;

describe("LocationService", () => {
  it("tells last known locations in the order asked for, also of who is not known", async () => {
    const { locations } = await call("GetLocations", { worker_ids: ["p2", "nobody", "p1"] });
    expect(locations).toMatchObject([
      { worker_id: "p2", location: { worker_id: "p2", latitude: 52.501 }, received_at_ms: NOW_US / 1000 },
      { worker_id: "nobody", received_at_ms: 0 },
      { worker_id: "p1", location: { latitude: 52.5, longitude: 13.4 } },
    ]);
    expect((locations as Json[])[1]?.["location"] ?? undefined).toBeUndefined();
    const elsewhere = await call("GetLocations", { app: "another", worker_ids: ["p1"] });
    expect(elsewhere).toMatchObject({ locations: [{ worker_id: "p1", received_at_ms: 0 }] });
  });

  it("finds who is nearby, the nearest first, all or those who take offers", async () => {
    const all = await call("FindNearby", { ...HERE, radius_meters: 1_000 });
    expect(all).toMatchObject({
      workers: [
        { location: { worker_id: "p1" }, distance_meters: 0, presence: { online: false } },
        { location: { worker_id: "p2" }, presence: { user_id: "p2", online: true, available: true } },
        { location: { worker_id: "p3" } },
      ],
      truncated: false,
    });
    expect((await call("FindNearby", { ...HERE, radius_meters: 1_000, limit: 1 }))["workers"]).toHaveLength(
      1,
    );
    expect((await call("FindNearby", { ...HERE, radius_meters: 150 }))["workers"]).toHaveLength(2);
    const available = await call("FindNearby", { ...HERE, radius_meters: 1_000, available_only: true });
    expect(available).toMatchObject({ workers: [{ location: { worker_id: "p2" } }] });
    expect((await call("FindNearby", { ...HERE, app: "another", radius_meters: 1_000 }))["workers"]).toEqual(
      [],
    );
  });

  it.each<[string, Json]>([
    ["GetLocations", { worker_ids: [] }],
    ["GetLocations", { worker_ids: Array.from({ length: 101 }, (_, index) => `p${index}`) }],
    ["GetLocations", { worker_ids: ["not an id"] }],
    ["GetLocations", { app: "not an app", worker_ids: ["p1"] }],
    ["FindNearby", { latitude: 1, radius_meters: 1 }],
    ["FindNearby", { longitude: 1, radius_meters: 1 }],
    ["FindNearby", { latitude: 85.1, longitude: 1, radius_meters: 1 }],
    ["FindNearby", { latitude: 1, longitude: 181, radius_meters: 1 }],
    ["FindNearby", { ...HERE }],
    ["FindNearby", { ...HERE, radius_meters: 50_001 }],
    ["FindNearby", { ...HERE, radius_meters: NaN }],
    ["FindNearby", { ...HERE, radius_meters: 1, limit: 101 }],
    ["FindNearby", { ...HERE, radius_meters: 1, max_age_ms: -1 }],
  ])("%s refuses %j", async (method, request) => {
    await expect(call(method, request)).rejects.toMatchObject({ code: INVALID_ARGUMENT });
  });
});
