import { beforeEach, describe, expect, it, vi } from "vitest";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import { MemoryPresenceStore } from "#fanout/presence/presence-store-memory.js";
import { MemoryLocations } from "./locations-memory.js";
import { nearbyRequest, NearbyWorkers, type NearbyRequest } from "./nearby-workers.js";

const NOW_US = 1_750_000_000_000_000;
const clock = { nowUs: () => NOW_US };
const EVERYBODY: NearbyRequest = {
  app: "default",
  center: { latitude: 0, longitude: 0 },
  radiusMeters: 50_000,
  limit: 2,
  isAvailableOnly: false,
  maxAgeMs: 0,
};

let locations: MemoryLocations;
let presence: MemoryPresenceStore;
let workers: NearbyWorkers;

beforeEach(() => {
  locations = new MemoryLocations({ clock });
  presence = new MemoryPresenceStore();
  workers = new NearbyWorkers({ locations, presence, clock });
});

/** Workers in a row, a meter or so from one to the next. */
async function line(count: number, ageMs = 0): Promise<void> {
  await locations.put(
    Array.from({ length: count }, (_, index) => {
      const point = { latitude: index / 100_000, longitude: 0 };
      const payload = Location.encode(Location.fromPartial({ workerId: `w${index}`, ...point })).finish();
      return { app: "default", workerId: `w${index}`, version: NOW_US - ageMs * 1000, payload, point };
    }),
  );
}

async function takesOffers(workerId: string, isOnline = true): Promise<void> {
  const connection = { app: "default", userId: workerId, connectionId: workerId, generation: 1, place: "p" };
  if (isOnline) await presence.connect(connection);
  await presence.setAvailable({ app: "default", userId: workerId, isAvailable: true, saidAtUs: 1 });
}

async function found(request: Partial<NearbyRequest> = {}) {
  const page = await workers.find({ ...EVERYBODY, ...request });
  return { ids: page.workers.map(({ location }) => location?.workerId), truncated: page.truncated };
}

describe("workers nearby", () => {
  it("are told the nearest first, with where, how far, since when, and whether they are there", async () => {
    await line(5);
    await takesOffers("w1");
    const { workers: near, truncated } = await workers.find(EVERYBODY);
    expect(near).toMatchObject([
      {
        location: { workerId: "w0" },
        distanceMeters: 0,
        receivedAtMs: NOW_US / 1000,
        presence: { online: false },
      },
      { location: { workerId: "w1" }, presence: { online: true, available: true } },
    ]);
    expect(near[1]?.distanceMeters).toBeCloseTo(1.112, 2);
    expect(truncated).toBe(false);
  });

  it("who take offers are found behind many who do not, and those who went are none of them", async () => {
    await line(600);
    for (const workerId of ["w3", "w500", "w599"]) await takesOffers(workerId);
    await takesOffers("w0", false);
    expect(await found({ isAvailableOnly: true })).toEqual({ ids: ["w3", "w500"], truncated: false });
    expect(await found({ isAvailableOnly: true, limit: 5 })).toEqual({
      ids: ["w3", "w500", "w599"],
      truncated: false,
    });
  });

  it("are looked for among a thousand at most, and it is said where that was not enough", async () => {
    await line(1_100);
    await takesOffers("w999");
    await takesOffers("w1050");
    const asked = vi.spyOn(presence, "presences");
    expect(await found({ isAvailableOnly: true })).toEqual({ ids: ["w999"], truncated: true });
    expect(asked.mock.calls.flatMap(([, ids]) => ids)).toHaveLength(1_000);
    expect(await found({ isAvailableOnly: true, limit: 1 })).toEqual({ ids: ["w999"], truncated: false });
  });

  it("may be asked for by how fresh their locations are", async () => {
    await line(3, 10_000);
    expect((await found({ maxAgeMs: 10_000 })).ids).toEqual(["w0", "w1"]);
    expect((await found({ maxAgeMs: 9_999 })).ids).toEqual([]);
  });

  it("are 20 where nobody says how many", () => {
    const fields = {
      latitude: 0,
      longitude: 0,
      radiusMeters: 1,
      limit: 0,
      availableOnly: false,
      maxAgeMs: 0,
    };
    expect(nearbyRequest("default", fields, new FieldCheck("nearby")).limit).toBe(20);
  });
});
