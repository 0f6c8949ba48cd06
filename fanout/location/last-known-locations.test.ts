import { beforeEach, describe, expect, it } from "vitest";
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

beforeEach(async () => {
  directory = new MemoryDirectory();
  locations = new MemoryLocations();
  lastKnown = new LastKnownLocations({ directory, locations });
  await takePart("p1", "assigned");
});

function takePart(userId: string, relation: Relation): Promise<void> {
  return directory.grant({ channel, userId, relation, expiresAtMs: 2 ** 50 });
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
    const values = await lastKnown.of(channel);
    expect(values.map(({ key, version }) => [key, version])).toEqual([
      ["location:p1", 5_000_000],
      ["location:p2", 5_000_000],
    ]);
    const event = Event.decode(values[1]?.payload ?? new Uint8Array());
    expect(event).toMatchObject({ channel: "order:42", timeMs: 5000, body: { value: { latitude: 1 } } });
  });

  it("leave out who was not seen yet, and what was meant for another order", async () => {
    expect(await lastKnown.of(channel)).toEqual([]);
    await know("p1", 1, "43");
    expect(await lastKnown.of(channel)).toEqual([]);
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
    expect(await lastKnown.of(channel)).toHaveLength(1);
  });

  it("are none in channels without workers, and nobody is asked", async () => {
    expect(await lastKnown.of(channelOf("default", "conversation", "42"))).toEqual([]);
  });
});
