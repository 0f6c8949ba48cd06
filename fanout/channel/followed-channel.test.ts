import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { gate, order, SILENT } from "#test/support/fanout-core.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { FanoutCounters } from "../fanout-counters.js";
import type { BrokerMessage, StreamPosition } from "./broker.js";
import { MemoryBroker, MemoryChannels } from "./broker-memory.js";
import { FollowedChannel, type ChannelAudience } from "./followed-channel.js";

const HOUR_MS = 3_600_000;
const channel = order("42");
const clock = { nowUs: () => nowMs * 1000 };
let nowMs = 1_000_000;
let memory: MemoryChannels;
let broker: UnreliableBroker;
/** Another fanout. */
let elsewhere: MemoryBroker;
let followed: FollowedChannel[];
let interrupted: number;
let published: number;

beforeEach(() => {
  vi.useFakeTimers();
  memory = new MemoryChannels(clock);
  broker = new UnreliableBroker(new MemoryBroker({ channels: memory }));
  elsewhere = new MemoryBroker({ channels: memory });
  followed = [];
  interrupted = 0;
  published = 0;
});

afterEach(() => {
  for (const each of followed) each.close();
  vi.useRealTimers();
});

const counters = new FanoutCounters();

/** What sockets were told, one word each. */
class Audience implements ChannelAudience {
  readonly heard: string[] = [];
  deliver({ kind }: Parameters<ChannelAudience["deliver"]>[0]): void {
    if (kind.class === "durable") this.heard.push(String(kind.position.offset));
    else this.heard.push(kind.class === "latest" ? `${kind.key}=${kind.version}` : "ephemeral");
  }
  missed(position: StreamPosition): void {
    this.heard.push(`missed up to ${position.offset}`);
  }
}

function follow(): { channel: FollowedChannel; audience: Audience } {
  const made = new FollowedChannel({
    channel,
    broker,
    counters,
    logger: SILENT,
    onSignal: () => undefined,
    onInterrupted: () => (interrupted += 1),
  });
  const audience = new Audience();
  made.audiences.add(audience);
  followed.push(made);
  return { channel: made, audience };
}

async function publish(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    published += 1;
    const eventId = `event-${published}`;
    await elsewhere.publish(channel, {
      eventId,
      idempotencyKey: eventId,
      payload: new Uint8Array([published]),
    });
  }
}

function latest(version: number, key = "location:p1"): BrokerMessage {
  return { type: "latest", value: { key, version, payload: new Uint8Array() } };
}

/** Until nothing is on its way any more. */
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(1);

describe("durable events", () => {
  it("are delivered in order, from the one after the start", async () => {
    await publish(2);
    const { channel: one, audience } = follow();
    await one.active();
    await publish(3);
    await settle();
    expect(audience.heard).toEqual(["3", "4", "5"]);
    expect(one.position?.offset).toBe(5);
  });

  it("are delivered once though each is heard three times", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    broker.way = (message) => [message, message, message];
    await publish(3);
    await settle();
    expect(audience.heard).toEqual(["1", "2", "3"]);
  });

  it("that the way lost are read from history, in order, also over several pages", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    broker.way = () => [];
    await publish(150);
    broker.way = (message) => [message];
    await publish(1);
    await settle();
    expect(audience.heard).toEqual(Array.from({ length: 151 }, (_, index) => String(index + 1)));
  });

  it("heard in the wrong order, or while history is read, are delivered in theirs", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    const kept: BrokerMessage[] = [];
    broker.way = (message) => {
      kept.push(message);
      return [];
    };
    await publish(4);
    await settle();
    const reading = gate();
    broker.answers.set("history", () => reading.opened);
    for (const message of [...kept].reverse()) broker.say(channel, message);
    await settle();
    broker.way = (message) => [message];
    await publish(2);
    await settle();
    expect(audience.heard).toEqual([]);
    reading.open();
    await settle();
    expect(audience.heard).toEqual(["1", "2", "3", "4", "5", "6"]);
  });

  it("of which the last was lost are found when positions are compared", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    broker.way = () => [];
    await publish(1);
    const [stored] = await broker.positions([channel]);
    if (stored === undefined) throw new Error("the channel has a position");
    one.check(stored);
    await settle();
    expect(audience.heard).toEqual(["1"]);
  });

  it("that were lost are read after a resubscription, and permissions are to be asked again", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    broker.way = () => [];
    await publish(2);
    const { signals } = one;
    broker.say(channel, { type: "resubscribed" });
    await settle();
    expect(audience.heard).toEqual(["1", "2"]);
    expect(interrupted).toBe(1);
    expect(one.signals).toBe(signals + 1);
  });

  it("that history does not hold any more are told as missed, right before what it holds", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    broker.way = () => [];
    await publish(230);
    broker.say(channel, { type: "resubscribed" });
    await settle();
    expect(audience.heard.slice(0, 2)).toEqual(["missed up to 30", "31"]);
    expect(audience.heard.at(-1)).toBe("230");
    expect(audience.heard).toHaveLength(201);
  });

  it("of a new history are delivered from its beginning, after the loss of the old one was told", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    await publish(3);
    await settle();
    broker.way = () => [];
    forget();
    await publish(2);
    broker.say(channel, { type: "resubscribed" });
    await settle();
    expect(audience.heard).toEqual(["1", "2", "3", "missed up to 0", "1", "2"]);
  });

  it("go on without a word where the store only outlived a quiet history", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    await publish(3);
    await settle();
    forget();
    const [stored] = await broker.positions([channel]);
    if (stored === undefined) throw new Error("the channel has a position");
    one.check(stored);
    await settle();
    await publish(2);
    await settle();
    expect(audience.heard).toEqual(["1", "2", "3", "1", "2"]);
  });

  it("are told as missed where the history is gone after the way was interrupted", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    await publish(3);
    await settle();
    forget();
    broker.say(channel, { type: "resubscribed" });
    await settle();
    expect(audience.heard).toEqual(["1", "2", "3", "missed up to 0"]);
  });

  it("of a store that fell behind are not taken for repeats", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    await publish(1);
    await settle();
    // The store failed over: another event stands at offset 1 now.
    const position = { ...positionOf(one), tag: 7 };
    vi.spyOn(broker, "state").mockResolvedValue({ position, latest: [] });
    broker.say(channel, { type: "durable", position, payload: new Uint8Array() });
    await settle();
    expect(audience.heard).toEqual(["1", "missed up to 1"]);
    // Or fewer events than were delivered.
    const fewer = { ...position, offset: 0 };
    vi.spyOn(broker, "state").mockResolvedValue({ position: fewer, latest: [] });
    one.check(fewer);
    await settle();
    expect(audience.heard.at(-1)).toBe("missed up to 0");
  });

  it("are compared where a stored position was not passed since the store was asked", async () => {
    await publish(2);
    const { channel: one } = follow();
    await one.active();
    const before = one.position;
    if (before === undefined) throw new Error("the channel has a position");
    await publish(2);
    await settle();
    const reading = vi.spyOn(broker, "state");
    for (const passed of [before, { ...before, offset: 3, tag: 9 }]) one.check(passed, before);
    expect(reading).not.toHaveBeenCalled();
    const notPassed = [
      { ...before, offset: 1 },
      { ...before, offset: 5 },
      { ...before, tag: before.tag ^ 2 },
      { ...before, epoch: "another" },
      { epoch: "", offset: 0, tag: 0 },
    ];
    for (const [index, stored] of notPassed.entries()) {
      one.check(stored, before);
      await settle();
      expect(reading).toHaveBeenCalledTimes(index + 1);
    }
  });

  it("are caught up with by the next comparison where reading them failed", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    broker.way = () => [];
    await publish(1);
    broker.failing.add("history");
    broker.say(channel, { type: "resubscribed" });
    await settle();
    expect(audience.heard).toEqual([]);
    broker.failing.clear();
    const [stored] = await broker.positions([channel]);
    if (stored) one.check(stored);
    await settle();
    expect(audience.heard).toEqual(["1"]);
  });

  it("tries again by itself where nobody says anything more", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    broker.way = () => [];
    await publish(1);
    broker.failing.add("history");
    broker.say(channel, { type: "resubscribed" });
    await settle();
    broker.failing.clear();
    await vi.advanceTimersByTimeAsync(1000);
    expect(audience.heard).toEqual(["1"]);
  });
});

describe("a store that is away", () => {
  it("at the start is tried again until it answers, and events of this process flow meanwhile", async () => {
    broker.isAway = true;
    const { channel: one, audience } = follow();
    await expect(one.active()).rejects.toMatchObject({ kind: "unavailable" });
    one.hear(latest(1));
    one.hear({ type: "ephemeral", payload: new Uint8Array(), origin: "" });
    expect(audience.heard).toEqual(["location:p1=1", "ephemeral"]);
    await vi.advanceTimersByTimeAsync(2000);
    expect(one.isActive).toBe(false);
    broker.isAway = false;
    await vi.advanceTimersByTimeAsync(1000);
    await one.active();
    await publish(1);
    await settle();
    expect(audience.heard).toEqual(["location:p1=1", "ephemeral", "1"]);
  });

  it("between following and reading the position is no reason to follow twice", async () => {
    broker.failing.add("state");
    const { channel: one, audience } = follow();
    await expect(one.active()).rejects.toMatchObject({ kind: "unavailable" });
    broker.failing.clear();
    await vi.advanceTimersByTimeAsync(1000);
    await one.active();
    await publish(1);
    await settle();
    expect(audience.heard).toEqual(["1"]);
    expect(broker.calls.filter((call) => call === "follow")).toHaveLength(1);
  });

  it("owes what came since somebody's position, the oldest of several, and gives it when it is back", async () => {
    await publish(5);
    const [stored] = await broker.positions([channel]);
    if (stored === undefined) throw new Error("the channel has a position");
    broker.isAway = true;
    const { channel: one, audience } = follow();
    await expect(one.active()).rejects.toMatchObject({ kind: "unavailable" });
    const { epoch } = stored;
    expect(one.owe({ epoch, offset: 4, tag: 0 })).toBe(true);
    expect(one.owe({ epoch, offset: 2, tag: 0 })).toBe(true);
    expect(one.owe({ epoch, offset: 3, tag: 0 })).toBe(true);
    expect(one.owe({ epoch: "another", offset: 1, tag: 0 })).toBe(false);
    broker.isAway = false;
    await vi.advanceTimersByTimeAsync(1000);
    expect(audience.heard).toEqual(["3", "4", "5"]);
  });

  it("cannot owe what the channel has moved on from", async () => {
    await publish(5);
    const { channel: one } = follow();
    await one.active();
    const position = positionOf(one);
    expect(one.owe({ ...position, offset: 4 })).toBe(false);
    expect(one.owe(position)).toBe(true);
  });

  it("is not asked any more once the channel is closed", async () => {
    broker.isAway = true;
    const { channel: one } = follow();
    await expect(one.active()).rejects.toMatchObject({ kind: "unavailable" });
    one.close();
    const calls = broker.calls.length;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(broker.calls).toHaveLength(calls);
  });
});

describe("latest values", () => {
  it("never go back, and come once", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    for (const version of [5, 3, 5, 6, 4, 7]) one.hear(latest(version));
    expect(audience.heard).toEqual(["location:p1=5", "location:p1=6", "location:p1=7"]);
  });

  it("that are stored are known after the start", async () => {
    await elsewhere.update(channel, { key: "location:p1", version: 9, payload: new Uint8Array() });
    const { channel: one } = follow();
    await one.active();
    expect(one.freshLatest().map(({ version }) => version)).toEqual([9]);
  });

  it("that the way lost are heard after a resubscription", async () => {
    const { channel: one, audience } = follow();
    await one.active();
    broker.way = () => [];
    await elsewhere.update(channel, { key: "location:p1", version: 9, payload: new Uint8Array() });
    broker.say(channel, { type: "resubscribed" });
    await settle();
    expect(audience.heard).toEqual(["location:p1=9"]);
  });

  it("are kept for so many keys only", async () => {
    const { channel: one } = follow();
    await one.active();
    for (let index = 0; index < 2000; index += 1) one.hear(latest(1, `location:p${index}`));
    expect(one.freshLatest()).toHaveLength(1024);
    expect(one.freshLatest().at(-1)?.key).toBe("location:p1999");
  });
});

/** The store forgets the channel, as it does a while after its last event. */
function forget(): void {
  nowMs += 2 * HOUR_MS;
  memory.sweep(nowMs);
}

function positionOf(one: FollowedChannel): StreamPosition {
  if (one.position === undefined) throw new Error("the channel has a position");
  return one.position;
}
