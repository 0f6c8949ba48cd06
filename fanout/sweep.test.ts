import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { gate, order, SILENT } from "#test/support/fanout-core.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { MemoryBroker, MemoryChannels } from "./channel/broker-memory.js";
import { userChannel } from "./channel/channel.js";
import { Channels } from "./channel/channels.js";
import type { FollowedChannel } from "./channel/followed-channel.js";
import type { DataLossListener } from "./data-loss.js";
import { MemoryDirectory } from "./directory/directory-memory.js";
import { FanoutCounters } from "./fanout-counters.js";
import { channelKeys } from "./redis/keys.js";
import { Sweep } from "./sweep.js";

const HOUR_MS = 3_600_000;
const channel = order("42");
const EVERYTHING_LIVES = { expiresAtMs: Number.MAX_SAFE_INTEGER };
let memory: MemoryChannels;
let broker: UnreliableBroker;
let elsewhere: MemoryBroker;
let directory: MemoryDirectory;
let channels: Channels;
let sweep: Sweep;
let interrupted: string[];
let nowMs: number;
/** What a look at the store finds. */
let lost: Set<number>;
/** What a look cannot look at. */
let unseen: Set<number>;
let published: number;

beforeEach(() => {
  vi.useFakeTimers();
  nowMs = 1_000_000;
  memory = new MemoryChannels({ nowUs: () => nowMs * 1000 });
  broker = new UnreliableBroker(new MemoryBroker({ channels: memory }));
  elsewhere = new MemoryBroker({ channels: memory });
  directory = new MemoryDirectory();
  interrupted = [];
  lost = new Set();
  unseen = new Set();
  published = 0;
  const counters = new FanoutCounters();
  channels = new Channels({
    broker,
    counters,
    logger: SILENT,
    nowMs: Date.now,
    onSignal: () => undefined,
    onInterrupted: ({ name }) => interrupted.push(name),
    membersVersion: async (of) => (await directory.versions([of]))[0] ?? 0,
  });
  const listeners: DataLossListener[] = [];
  const dataLoss = {
    listen: (listener: DataLossListener) => void listeners.push(listener),
    check: async () => {
      const found = lost;
      lost = new Set();
      if (found.size > 0) for (const listener of listeners) listener.lost(found);
      return unseen;
    },
  };
  dataLoss.listen({
    lost: (partitions) => channels.inPartitions(partitions).forEach((each) => each.lose()),
    rebuilt: () => undefined,
  });
  sweep = new Sweep({ channels, broker, directory, counters, dataLoss });
});

afterEach(() => {
  sweep.stop();
  channels.close();
  vi.useRealTimers();
});

async function follow(which = channel): Promise<{ followed: FollowedChannel; heard: string[] }> {
  const followed = channels.acquire(which);
  await followed.active();
  const heard: string[] = [];
  followed.audiences.add({
    deliver: ({ kind }) => heard.push(kind.class === "durable" ? `${kind.position.offset}` : kind.class),
    missed: ({ offset }) => heard.push(`missed up to ${offset}`),
  });
  return { followed, heard };
}

async function publish(to = channel): Promise<void> {
  const eventId = `e${++published}`;
  await elsewhere.publish(to, { eventId, idempotencyKey: eventId, payload: new Uint8Array() });
}

function empty(): void {
  nowMs += 2 * HOUR_MS;
  memory.sweep(nowMs);
}

describe("the sweep", () => {
  it("finds the event that pub/sub lost, though nothing follows it, also after rounds without a store", async () => {
    const { heard } = await follow();
    broker.way = () => [];
    await publish();
    broker.failing.add("positions");
    await vi.advanceTimersByTimeAsync(15_000);
    expect(heard).toEqual([]);
    broker.failing.clear();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(heard).toEqual(["1"]);
  });

  it("finds a change of who takes part whose signal was lost, once, and nothing where nothing changed", async () => {
    await directory.grant({ channel, userId: "u0", relation: "owner", ...EVERYTHING_LIVES });
    const { followed } = await follow();
    await follow(userChannel("default", "u1"));
    await vi.advanceTimersByTimeAsync(30_000);
    expect(interrupted).toEqual([]);
    const { signals } = followed;
    await directory.grant({ channel, userId: "u1", relation: "assigned", ...EVERYTHING_LIVES });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(interrupted.sort()).toEqual(["order:42", "user:u1"]);
    expect(followed.signals).toBe(signals + 1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(interrupted).toHaveLength(2);
  });

  it("reads nothing of a busy channel, whose position has moved on since the store was asked", async () => {
    const { heard } = await follow();
    await publish();
    const answering = gate();
    broker.answers.set("positions", () => answering.opened);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(broker.calls).toContain("positions");
    broker.calls.length = 0;
    await publish();
    await publish();
    await vi.advanceTimersByTimeAsync(1);
    answering.open();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(heard).toEqual(["1", "2", "3"]);
    expect(broker.calls).toEqual([]);
  });

  it("finds what was lost of one channel while the part of the store that has another is away", async () => {
    const other = order("43");
    const [away, there] = [await follow(other), await follow()];
    broker.way = () => [];
    await publish();
    await publish(other);
    const { positions } = MemoryBroker.prototype;
    vi.spyOn(broker, "positions").mockImplementation(async (asked) => {
      const stored = await positions.call(elsewhere, asked);
      return stored.map((position, index) => (asked[index]?.key === other.key ? undefined : position));
    });
    const versions = vi.spyOn(directory, "versions");
    await vi.advanceTimersByTimeAsync(10_000);
    expect([away.heard, there.heard]).toEqual([[], ["1"]]);
    expect(versions.mock.calls).toEqual([[[channel]]]);
    versions.mockRejectedValue(new Error("away"));
    await publish();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(there.heard).toEqual(["1", "2"]);
  });

  it("concludes nothing of a part that could not be looked at, and looks though no position was answered", async () => {
    const other = order("43");
    expect(channelKeys(other).partition.index).not.toBe(channelKeys(channel).partition.index);
    const [away, there] = [await follow(other), await follow()];
    await publish();
    await publish(other);
    await vi.advanceTimersByTimeAsync(1);
    empty();
    unseen = new Set([channelKeys(other).partition.index]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect([away, there].map(({ followed }) => followed.position?.offset)).toEqual([1, 0]);
    broker.failing.add("positions");
    unseen = new Set();
    lost = new Set([channelKeys(other).partition.index]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect([away.heard, there.heard]).toEqual([["1", "missed up to 0"], ["1"]]);
  });

  it("goes on without a word where the store only outlived a quiet history", async () => {
    const { heard } = await follow();
    await publish();
    await vi.advanceTimersByTimeAsync(1);
    empty();
    await vi.advanceTimersByTimeAsync(20_000);
    await publish();
    await vi.advanceTimersByTimeAsync(1);
    expect(heard).toEqual(["1", "1"]);
  });

  it("tells once where the store lost the history, though the channel is quiet", async () => {
    const { heard } = await follow();
    await publish();
    await vi.advanceTimersByTimeAsync(1);
    empty();
    lost = new Set([channelKeys(channel).partition.index]);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(heard).toEqual(["1", "missed up to 0"]);
    await publish();
    await vi.advanceTimersByTimeAsync(1);
    expect(heard).toEqual(["1", "missed up to 0", "1"]);
  });

  it("tells once also where events of the new history came before it was noticed", async () => {
    const { heard } = await follow();
    await publish();
    await vi.advanceTimersByTimeAsync(1);
    empty();
    await publish();
    await vi.advanceTimersByTimeAsync(1);
    lost = new Set([channelKeys(channel).partition.index]);
    await vi.advanceTimersByTimeAsync(30_000);
    expect(heard).toEqual(["1", "missed up to 0", "1"]);
  });

  it("does not take a history for outlived that something else found gone before it looked", async () => {
    const { followed, heard } = await follow();
    await publish();
    await vi.advanceTimersByTimeAsync(1);
    const { position } = followed;
    if (position === undefined) throw new Error("the channel has a position");
    empty();
    // A message on its way since before the loss makes the channel compare itself.
    const late = { ...position, offset: 5, tag: 5 };
    broker.say(channel, { type: "durable", position: late, payload: new Uint8Array() });
    await vi.advanceTimersByTimeAsync(1);
    lost = new Set([channelKeys(channel).partition.index]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(heard).toEqual(["1", "missed up to 0"]);
  });
});
