import { beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { Event, Location } from "#proto/gen/realtime/client/v1/event.js";
import { order } from "#test/support/fanout-core.js";
import { channelOf } from "#fanout/channel/channel.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import type { Relation } from "#fanout/directory/directory.js";
import { LastKnownLocations } from "./last-known-locations.js";
import { MemoryLocations } from "./locations-memory.js";

const channel = order("42");
let directory: MemoryDirectory;
let locations: MemoryLocations;
let lastKnown: LastKnownLocations;
let nowUs = 0;

beforeEach(async () => {
  nowUs = 0;
  directory = new MemoryDirectory();
  locations = new MemoryLocations();
  lastKnown = new LastKnownLocations({ directory, locations, clock: { nowUs: () => nowUs } });
  await takePart("p1", "assigned");
});

function takePart(userId: string, relation: Relation, expiresAtMs = 2 ** 50): Promise<void> {
  return directory.grant({ channel, userId, relation, expiresAtMs });
}

function know(workerId: string, latitude: number, orderId = ""): Promise<void> {
  const payload = Location.encode({ workerId, latitude, longitude: 0, measuredAtMs: 1, orderId }).finish();
  return locations.put([{ app: "default", workerId, version: 5_000_000, payload }]);
}

describe("the last known locations of a channel", () => {
  it("are those of its workers, as events", async () => {
    await takePart("p2", "assigned");
    await takePart("owner", "owner");
    for (const [index, workerId] of ["p1", "p2", "owner", "stranger"].entries()) await know(workerId, index);
    const values = await lastKnown.of({ channel, signals: 0 });
    expect(values.map(({ key, version }) => [key, version])).toEqual([
      ["location:p1", 5_000_000],
      ["location:p2", 5_000_000],
    ]);
    const event = Event.decode(values[1]?.payload ?? new Uint8Array());
    expect(event).toMatchObject({ channel: "order:42", timeMs: 5000, body: { value: { latitude: 1 } } });
  });

  it("leave out who was not seen yet, and what was meant for another order", async () => {
    expect(await lastKnown.of({ channel, signals: 0 })).toEqual([]);
    await know("p1", 1, "43");
    expect(await lastKnown.of({ channel, signals: 0 })).toEqual([]);
    await locations.put([
      {
        app: "default",
        workerId: "p1",
        version: 6_000_000,
        payload: Location.encode({
          workerId: "p1",
          latitude: 2,
          longitude: 0,
          measuredAtMs: 1,
          orderId: "42",
        }).finish(),
      },
    ]);
    expect(await lastKnown.of({ channel, signals: 0 })).toHaveLength(1);
  });

  it("are none in channels without workers, and nobody is asked", async () => {
    expect(await lastKnown.of({ channel: channelOf("default", "conversation", "42"), signals: 0 })).toEqual(
      [],
    );
  });

  it("cost one look at who takes part, however many ask, until a signal says that it changed", async () => {
    const looks = vi.spyOn(directory, "participants");
    await know("p1", 1);
    await know("p2", 2);
    const followed = { channel, signals: 0 };
    await Promise.all(Array.from({ length: 50 }, () => lastKnown.of(followed)));
    expect(looks).toHaveBeenCalledTimes(1);
    await takePart("p2", "assigned");
    followed.signals += 1;
    expect(await lastKnown.of(followed)).toHaveLength(2);
    expect(looks).toHaveBeenCalledTimes(2);
  });

  it("are asked for again where the directory could not be asked", async () => {
    const followed = { channel, signals: 0 };
    await know("p1", 1);
    vi.spyOn(directory, "participants").mockRejectedValueOnce(new GatewayError("unavailable", "away"));
    await expect(lastKnown.of(followed)).rejects.toThrow("away");
    expect(await lastKnown.of(followed)).toHaveLength(1);
  });

  it("are not those of a worker whose part has ended by itself since", async () => {
    const endsAtMs = Date.now() + 60_000;
    await takePart("p2", "assigned", endsAtMs);
    await know("p2", 1);
    const followed = { channel, signals: 0 };
    expect(await lastKnown.of(followed)).toHaveLength(1);
    nowUs = endsAtMs * 1000;
    expect(await lastKnown.of(followed)).toEqual([]);
  });
});
