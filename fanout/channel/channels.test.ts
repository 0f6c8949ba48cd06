import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { order, SILENT } from "#test/support/fanout-core.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { FanoutCounters } from "../fanout-counters.js";
import { MemoryBroker, MemoryChannels } from "./broker-memory.js";
import type { Channel } from "./channel.js";
import { Channels } from "./channels.js";

const channel = order("42");
let broker: UnreliableBroker;
let elsewhere: MemoryBroker;
let channels: Channels;
let signals: string[];

beforeEach(() => {
  vi.useFakeTimers();
  const memory = new MemoryChannels();
  broker = new UnreliableBroker(new MemoryBroker({ channels: memory }));
  elsewhere = new MemoryBroker({ channels: memory });
  signals = [];
  channels = new Channels({
    broker,
    counters: new FanoutCounters(),
    logger: SILENT,
    nowMs: Date.now,
    onSignal: (from: Channel, signal) => signals.push(`${from.name} ${Buffer.from(signal).toString()}`),
    onInterrupted: (from) => signals.push(`${from.name} interrupted`),
  });
});

afterEach(() => {
  channels.close();
  vi.useRealTimers();
});

describe("a followed channel", () => {
  it("is one for everybody who wants it, and followed once", async () => {
    const first = channels.acquire(channel);
    const second = channels.acquire(order("42"));
    await first.active();
    expect(second).toBe(first);
    expect(broker.calls.filter((call) => call === "follow")).toHaveLength(1);
    expect(channels.size).toBe(1);
  });

  it("is kept for a moment after the last user left, and for who comes back in it", async () => {
    const first = channels.acquire(channel);
    channels.acquire(channel);
    channels.release(first);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(channels.get(channel)).toBe(first);
    channels.release(first);
    await vi.advanceTimersByTimeAsync(8_000);
    expect(channels.acquire(channel)).toBe(first);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(channels.get(channel)).toBe(first);
    channels.release(first);
    await vi.advanceTimersByTimeAsync(14_000);
    expect(channels.size).toBe(0);
    expect(broker.follows(channel)).toBe(false);
  });

  it("can be followed again after it was let go", async () => {
    channels.release(channels.acquire(channel));
    await vi.advanceTimersByTimeAsync(14_000);
    const again = channels.acquire(channel);
    await again.active();
    expect(broker.follows(channel)).toBe(true);
  });

  it("passes signals on, and that some may have been lost", async () => {
    const followed = channels.acquire(channel);
    await followed.active();
    await elsewhere.tell(channel, { signal: Buffer.from("a word") });
    await vi.advanceTimersByTimeAsync(1);
    broker.say(channel, { type: "resubscribed" });
    expect(signals).toEqual(["order:42 a word", "order:42 interrupted"]);
  });
});

it("what is delivered locally reaches followers here, and makes no channel", () => {
  channels.deliverLocally(channel, { type: "ephemeral", payload: new Uint8Array(), origin: "" });
  expect(channels.size).toBe(0);
  const heard: string[] = [];
  channels.acquire(channel).audiences.add({
    deliver: ({ kind }) => heard.push(kind.class),
    missed: () => undefined,
  });
  channels.deliverLocally(channel, { type: "ephemeral", payload: new Uint8Array(), origin: "" });
  expect(heard).toEqual(["ephemeral"]);
});
