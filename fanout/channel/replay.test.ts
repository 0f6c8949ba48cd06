import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { eventOf, gate, order, SILENT, status } from "#test/support/fanout-core.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { FanoutCounters } from "../fanout-counters.js";
import type { StreamPosition } from "./broker.js";
import { MemoryBroker, MemoryChannels } from "./broker-memory.js";
import { FollowedChannel } from "./followed-channel.js";
import { MAX_REPLAY_BYTES, replay, ReplayBudget, type Replay } from "./replay.js";

const channel = order("42");
const BEFORE = { epoch: "", offset: 0, tag: 0 };
let broker: UnreliableBroker;
let elsewhere: MemoryBroker;
let followed: FollowedChannel;

beforeEach(() => {
  const memory = new MemoryChannels();
  broker = new UnreliableBroker(new MemoryBroker({ channels: memory }));
  elsewhere = new MemoryBroker({ channels: memory });
});

afterEach(() => followed.close());

async function follow(): Promise<void> {
  followed = new FollowedChannel({
    channel,
    broker,
    counters: new FanoutCounters(),
    logger: SILENT,
    onSignal: () => undefined,
    onInterrupted: () => undefined,
  });
  await followed.active();
}

async function publish(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const eventId = `${Math.random()}`;
    await elsewhere.publish(channel, { eventId, idempotencyKey: eventId, payload: new Uint8Array() });
  }
}

async function read(after: StreamPosition | undefined): Promise<Replay> {
  const results: Replay[] = [];
  await replay({ broker, followed, after, whenCaughtUp: (missed) => results.push(missed) });
  const [result] = results;
  if (result === undefined || results.length > 1) throw new Error("it is told once");
  return result;
}

function offsets({ events }: Replay): number[] {
  return events.map(({ position }) => position.offset);
}

async function at(offset: number): Promise<StreamPosition> {
  const { position } = await elsewhere.state(channel);
  const [event] = await elsewhere.history(channel, { afterOffset: offset - 1, limit: 1 });
  return { ...position, offset, tag: event?.position.offset === offset ? event.position.tag : 0 };
}

describe("a replay", () => {
  it("is everything behind the position, over several pages", async () => {
    await publish(180);
    await follow();
    const missed = await read(await at(10));
    expect(offsets(missed)).toEqual(Array.from({ length: 170 }, (_, index) => index + 11));
    expect(missed).toMatchObject({ isComplete: true, from: { offset: 10 }, upTo: { offset: 180 } });
  });

  it("is nothing for who has everything", async () => {
    await publish(3);
    await follow();
    expect(await read(await at(3))).toMatchObject({ events: [], isComplete: true, upTo: { offset: 3 } });
  });

  it("is nothing for who has heard more than this fanout, where the store has it", async () => {
    await publish(3);
    await follow();
    broker.way = () => [];
    await publish(1);
    expect(await read(await at(4))).toMatchObject({ events: [], isComplete: true, upTo: { offset: 4 } });
  });

  it("says that something is lost to who has more than the store, or another event at the same place", async () => {
    await publish(3);
    await follow();
    const more = { ...(await at(3)), offset: 10 };
    expect(await read(more)).toMatchObject({ events: [], isComplete: false, upTo: { offset: 3 } });
    broker.way = () => [];
    await publish(1);
    const ahead = await at(4);
    const aheadOfFork = { ...ahead, tag: (ahead.tag ^ 2) >>> 0 };
    expect(await read(aheadOfFork)).toMatchObject({ events: [], isComplete: false, upTo: { offset: 3 } });
    for (const offset of [2, 3]) {
      const { tag, ...position } = await at(offset);
      const fork = { ...position, tag: (tag ^ 2) >>> 0 };
      expect(await read(fork)).toMatchObject({ events: [], isComplete: false, upTo: { offset: 3 } });
    }
  });

  it("of more than a socket is given at once is nothing, and says so", async () => {
    await follow();
    for (let index = 0; index < 9; index += 1) {
      const eventId = `large-${index}`;
      await elsewhere.publish(channel, {
        eventId,
        idempotencyKey: eventId,
        payload: new Uint8Array(64 * 1024),
      });
    }
    expect(await read(await at(1))).toMatchObject({ isComplete: true });
    expect(await read(BEFORE)).toMatchObject({ events: [], isComplete: false, upTo: { offset: 9 } });
  });

  it("reads no more than the budget has left, and nothing where nothing is left", async () => {
    await follow();
    const payload = new Uint8Array(64 * 1024);
    for (let index = 0; index < 40; index += 1) {
      const eventId = `large-${index}`;
      await elsewhere.publish(channel, { eventId, idempotencyKey: eventId, payload });
    }
    const reading = vi.spyOn(broker, "history");
    const budget = new ReplayBudget();
    const results: Replay[] = [];
    const whenCaughtUp = (missed: Replay): void => void results.push(missed);
    await replay({ broker, followed, after: BEFORE, budget, whenCaughtUp });
    const pages = await Promise.all(reading.mock.results.map(({ value }) => value as Promise<unknown[]>));
    expect(pages.flat()).toHaveLength(MAX_REPLAY_BYTES / payload.length + 1);
    expect(budget.take(MAX_REPLAY_BYTES)).toBe(true);
    await replay({ broker, followed, after: BEFORE, budget, whenCaughtUp });
    expect(reading).toHaveBeenCalledTimes(pages.length);
    expect(results.map(({ isComplete }) => isComplete)).toEqual([false, false]);
  });

  it("counts what it takes in the socket's framing", async () => {
    await follow();
    const payload = Event.encode(eventOf(status("\u0001".repeat(30_000)))).finish();
    for (const eventId of ["e1", "e2", "e3"]) {
      await elsewhere.publish(channel, { eventId, idempotencyKey: eventId, payload });
    }
    const isComplete: boolean[] = [];
    for (const framing of [Framing.FRAMING_PROTOBUF, Framing.FRAMING_JSON]) {
      const whenCaughtUp = (missed: Replay): void => void isComplete.push(missed.isComplete);
      await replay({ broker, followed, after: BEFORE, framing, whenCaughtUp });
    }
    expect(isComplete).toEqual([true, false]);
  });

  it("is nothing, and complete for nobody, without a position", async () => {
    await publish(3);
    await follow();
    expect(await read(undefined)).toMatchObject({ events: [], isComplete: false, upTo: { offset: 3 } });
  });

  it("is the whole history for who was there before its first event", async () => {
    await follow();
    const before = followed.position;
    expect(before).toEqual(BEFORE);
    await publish(2);
    expect(await read(before)).toMatchObject({ isComplete: true, upTo: { offset: 2 } });
  });

  it("says what is missing where history does not reach back far enough", async () => {
    await publish(230);
    await follow();
    const missed = await read(await at(5));
    expect(offsets(missed)).toEqual(Array.from({ length: 200 }, (_, index) => index + 31));
    expect(missed).toMatchObject({ isComplete: false, from: { offset: 5 }, upTo: { offset: 230 } });
  });

  it("of another epoch is nothing, and says so", async () => {
    await publish(3);
    await follow();
    const missed = await read({ epoch: "another", offset: 1, tag: 0 });
    expect(missed).toMatchObject({ events: [], isComplete: false, upTo: { offset: 3 } });
  });

  it("while another epoch begins does not go on in that one's offsets, and says that something is lost", async () => {
    await publish(3);
    await follow();
    const reading = gate();
    const budget = new ReplayBudget();
    broker.answers.set("history", () => reading.opened);
    const results: Replay[] = [];
    const after = await at(1);
    const whenCaughtUp = (missed: Replay): void => void results.push(missed);
    const replaying = replay({ broker, followed, after, budget, whenCaughtUp });
    await vi.waitFor(() => expect(broker.calls).toContain("history"));
    const { position } = await elsewhere.state(channel);
    const rotated = await elsewhere.rotate(channel, position);
    broker.answers.clear();
    await publish(2);
    await vi.waitFor(() => expect(followed.position).toMatchObject({ epoch: rotated.epoch, offset: 2 }));
    reading.open();
    await replaying;
    expect(results).toMatchObject([
      { events: [], isComplete: false, upTo: { epoch: rotated.epoch, offset: 2 } },
    ]);
    expect(budget.leftBytes).toBe(MAX_REPLAY_BYTES);
  });

  it("goes on to where the channel has moved meanwhile, and is told in the very turn in which it caught up", async () => {
    await publish(3);
    await follow();
    const reading = gate();
    broker.answers.set("history", () => reading.opened);
    const publishing = (async () => {
      await publish(2);
      reading.open();
      broker.answers.clear();
      for (let index = 0; index < 20; index += 1) {
        await publish(1);
        await Promise.resolve();
      }
    })();
    let caughtUpAt: StreamPosition | undefined;
    let missed: Replay | undefined;
    await replay({
      broker,
      followed,
      after: await at(0),
      whenCaughtUp: (result) => {
        missed = result;
        caughtUpAt = followed.position;
      },
    });
    await publishing;
    if (missed === undefined) throw new Error("it was told");
    const upTo = missed.upTo?.offset ?? 0;
    expect(offsets(missed)).toEqual(Array.from({ length: upTo }, (_, index) => index + 1));
    expect(upTo).toBeGreaterThanOrEqual(5);
    expect(upTo).toBeGreaterThanOrEqual(caughtUpAt?.offset ?? Infinity);
  });

  it.each(Array.from({ length: 24 }, (_, index) => index))(
    "leaves no gap before the live events where one is heard %i steps behind the answer of history",
    async (steps) => {
      await publish(3);
      await follow();
      let wasPublished = false;
      broker.answers.set("history", () => {
        if (!wasPublished) {
          wasPublished = true;
          void (async () => {
            for (let step = 0; step < steps; step += 1) await Promise.resolve();
            await publish(1);
          })();
        }
        return Promise.resolve();
      });
      const gaps: number[] = [];
      await replay({
        broker,
        followed,
        after: await at(0),
        whenCaughtUp: ({ upTo }) => gaps.push((followed.position?.offset ?? 0) - (upTo?.offset ?? 0)),
      });
      expect(gaps).toEqual([0]);
    },
  );

  it("fails while the store is away, and tells nothing", async () => {
    await publish(3);
    await follow();
    broker.isAway = true;
    const told: Replay[] = [];
    const after = await at(1);
    const replaying = replay({ broker, followed, after, whenCaughtUp: (missed) => told.push(missed) });
    await expect(replaying).rejects.toMatchObject({ kind: "unavailable" });
    expect(told).toEqual([]);
  });
});

describe("after a fork", () => {
  it("nobody is told that nothing is missing, not even who had nothing yet; except in the new epoch", async () => {
    await publish(3);
    const old = await at(2);
    const { position } = await elsewhere.state(channel);
    const rotated = await elsewhere.rotate(channel, position);
    await follow();
    for (const after of [old, position, BEFORE]) {
      expect(await read(after)).toMatchObject({ events: [], isComplete: false, upTo: rotated });
    }
    expect(await read(rotated)).toMatchObject({ events: [], isComplete: true, upTo: rotated });
    await publish(2);
    await vi.waitFor(() => expect(followed.position?.offset).toBe(2));
    for (const after of [old, position, BEFORE])
      expect(await read(after)).toMatchObject({ isComplete: false });
    const missed = await read(rotated);
    expect(missed.isComplete).toBe(true);
    expect(offsets(missed)).toEqual([1, 2]);
  });
});
