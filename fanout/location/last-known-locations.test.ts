import { beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { Event, Location } from "#proto/gen/realtime/client/v1/event.js";
import { FanoutCore, order } from "#test/support/fanout-core.js";
import type { LatestValue } from "#fanout/channel/broker.js";
import { channelOf } from "#fanout/channel/channel.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import type { Relation } from "#fanout/directory/directory.js";
import { LastKnownLocations, type SignalledChannel } from "./last-known-locations.js";
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

/** What a new follower is shown where this came through the channel. */
async function shown(
  followed: SignalledChannel = { channel, signals: 0 },
  known: readonly LatestValue[] = [],
): Promise<readonly LatestValue[]> {
  return (await lastKnown.of(followed, known))(known);
}

/** As it came through the channel; without a role: from a service. */
function sent(workerId: string, role = "porter"): LatestValue {
  const value = { workerId, latitude: 9, longitude: 0, measuredAtMs: 1, orderId: "" };
  const sender = role === "" ? undefined : { userId: workerId, role };
  const event = {
    id: "e",
    channel: channel.name,
    timeMs: 1,
    sender,
    body: { $case: "location", value },
  } as const;
  return {
    key: `location:${workerId}`,
    version: 1,
    payload: Event.encode(Event.fromPartial(event)).finish(),
  };
}

const keysOf = (values: readonly LatestValue[]): string[] => values.map(({ key }) => key).sort();

describe("the last known locations of a channel", () => {
  it("are those of its workers, as events", async () => {
    await takePart("p2", "assigned");
    await takePart("owner", "owner");
    for (const [index, workerId] of ["p1", "p2", "owner", "stranger"].entries()) await know(workerId, index);
    const values = await shown();
    expect(values.map(({ key, version }) => [key, version])).toEqual([
      ["location:p1", 5_000_000],
      ["location:p2", 5_000_000],
    ]);
    const event = Event.decode(values[1]?.payload ?? new Uint8Array());
    expect(event).toMatchObject({ channel: "order:42", timeMs: 5000, body: { value: { latitude: 1 } } });
  });

  it("leave out who was not seen yet, and what was meant for another order", async () => {
    expect(await shown()).toEqual([]);
    await know("p1", 1, "43");
    expect(await shown()).toEqual([]);
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
    expect(await shown()).toHaveLength(1);
  });

  it("are none in channels without workers, and nobody is asked", async () => {
    expect(await shown({ channel: channelOf("default", "conversation", "42"), signals: 0 })).toEqual([]);
  });

  it("cost one look at who takes part, however many ask, until a signal says that it changed", async () => {
    const looks = vi.spyOn(directory, "recordOf");
    await know("p1", 1);
    await know("p2", 2);
    const followed = { channel, signals: 0 };
    await Promise.all(Array.from({ length: 50 }, () => shown(followed)));
    expect(looks).toHaveBeenCalledTimes(1);
    await takePart("p2", "assigned");
    followed.signals += 1;
    expect(await shown(followed)).toHaveLength(2);
    expect(looks).toHaveBeenCalledTimes(2);
  });

  it("are asked for again where the directory could not be asked", async () => {
    const followed = { channel, signals: 0 };
    await know("p1", 1);
    vi.spyOn(directory, "recordOf").mockRejectedValueOnce(new GatewayError("unavailable", "away"));
    await expect(shown(followed)).rejects.toThrow("away");
    expect(await shown(followed)).toHaveLength(1);
  });

  it("are not those of a worker whose part has ended by itself since", async () => {
    const endsAtMs = Date.now() + 60_000;
    await takePart("p2", "assigned", endsAtMs);
    await know("p2", 1);
    const followed = { channel, signals: 0 };
    expect(await shown(followed)).toHaveLength(1);
    nowUs = endsAtMs * 1000;
    expect(await shown(followed)).toEqual([]);
  });

  it("stand beside those that came through the channel, of whom none has come", async () => {
    await takePart("p2", "assigned");
    await know("p1", 1);
    await know("p2", 2);
    const looks = vi.spyOn(locations, "getMany");
    const values = await shown(undefined, [sent("p1")]);
    expect(values.map(({ key, version }) => [key, version])).toEqual([
      ["location:p1", 1],
      ["location:p2", 5_000_000],
    ]);
    expect(looks.mock.calls).toEqual([["default", ["p2"]]]);
    expect(await shown(undefined, [sent("p1"), sent("p2")])).toHaveLength(2);
    expect(looks).toHaveBeenCalledTimes(1);
  });

  it("are not beside those of whom works on it no more: another porter has the order, or it is over", async () => {
    await know("p1", 1);
    const eta = { key: "eta:42", version: 1, payload: new Uint8Array() };
    const before = [sent("p1"), sent("p0"), sent("p0-by-service", ""), eta];
    const followed = { channel, signals: 0 };
    expect(keysOf(await shown(followed, before))).toEqual([
      "eta:42",
      "location:p0-by-service",
      "location:p1",
    ]);
    await directory.end(channel, "p1");
    followed.signals += 1;
    expect(keysOf(await shown(followed, before))).toEqual(["eta:42", "location:p0-by-service"]);
  });

  it("take nothing away while the directory is being rebuilt", async () => {
    const record = await new MemoryDirectory().recordOf(channel);
    vi.spyOn(directory, "recordOf").mockResolvedValueOnce({ ...record, isComplete: false });
    expect(keysOf(await shown(undefined, [sent("p0")]))).toEqual(["location:p0"]);
  });
});

it("who follows an order after its porter was changed sees the new one, and the former one no more", async () => {
  const core = new FanoutCore();
  try {
    const edge = core.edge();
    await core.grant(channel, "former", "assigned");
    await core.grant(channel, "customer", "owner");
    const send = async (session: number, latitude: number): Promise<void> => {
      const value = { latitude, longitude: 0, timestampMs: 0, orderId: "" };
      edge.request(session, { $case: "locationUpdate", value });
      await vi.waitFor(() => expect(edge.heard(session)).toContain("reply"));
    };
    for (const [session, userId] of [
      [1, "former"],
      [2, "new"],
    ] as const)
      edge.open(session, { userId, role: "porter" });
    edge.open(3, { userId: "boss", role: "admin" });
    edge.request(3, { $case: "subscribe", value: { channel: channel.name } });
    await vi.waitFor(() => expect(edge.heard(3)).toContain("subscribed order:42"));
    await send(1, 1);
    await send(2, 2);
    await vi.waitFor(async () => expect(await core.locations.get("default", "new")).toBeDefined());
    await core.participations.end(channel, "former");
    await core.grant(channel, "new", "assigned");
    edge.open(4, { userId: "customer", role: "customer" });
    edge.request(4, { $case: "subscribe", value: { channel: channel.name } });
    await vi.waitFor(() => expect(edge.heard(4)).toContain("subscribed order:42"));
    const answer = edge.framesOf(4).at(-1)?.body;
    const latest = answer?.$case === "subscribed" ? answer.value.latest : [];
    expect(latest.map(({ body }) => body?.$case === "location" && body.value.workerId)).toEqual(["new"]);
  } finally {
    await core.stop();
  }
});
