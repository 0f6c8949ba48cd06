import { describe, expect, it, vi } from "vitest";
import { Random } from "#test/support/random.js";
import { PartitionLane, type LaneItem, type LaneOptions } from "./partition-lane.js";

function item(offset: number): LaneItem {
  return { offset, nextOffset: offset + 1, byteLength: 10 };
}

type Process = (item: LaneItem) => Promise<void>;

interface LaneSetting extends Partial<Omit<LaneOptions<LaneItem>, "prepare">> {
  readonly process?: Process;
  /** One thing that all touch, unless told. */
  readonly touches?: (item: LaneItem) => readonly string[];
}

function laneWith({ process, touches, ...options }: LaneSetting): PartitionLane<LaneItem> {
  return new PartitionLane({
    prepare: (each) => ({
      touches: touches?.(each) ?? ["the same"],
      run: () => process?.(each) ?? Promise.resolve(),
    }),
    backoff: { initialMs: 100, maxMs: 400, random: () => 0 },
    wait: async () => Promise.resolve(),
    ...options,
  });
}

describe("PartitionLane", () => {
  it("handles what touches the same one after the other, in order", async () => {
    let inHand = 0;
    let mostInHand = 0;
    const done: number[] = [];
    const lane = laneWith({
      process: async ({ offset }) => {
        inHand += 1;
        mostInHand = Math.max(mostInHand, inHand);
        await new Promise((resolve) => setImmediate(resolve));
        inHand -= 1;
        done.push(offset);
      },
    });
    lane.accept([item(5), item(6)]);
    lane.accept([item(7)]);
    expect(lane.pending).toBe(3);
    expect(lane.pendingBytes).toBe(30);
    await vi.waitFor(() => expect(lane.pending).toBe(0));
    expect(lane.pendingBytes).toBe(0);
    expect(done).toEqual([5, 6, 7]);
    expect(mostInHand).toBe(1);
    expect(lane.doneOffset).toBe(8);
  });

  it("tries the same item again with growing delays, which begin anew after a success", async () => {
    const delaysMs: number[] = [];
    const tries: number[] = [];
    const failuresLeft = new Map([
      [1, 4],
      [2, 1],
    ]);
    const lane = laneWith({
      process: async ({ offset }) => {
        tries.push(offset);
        const left = failuresLeft.get(offset) ?? 0;
        failuresLeft.set(offset, left - 1);
        if (left > 0) throw new Error("away");
        await Promise.resolve();
      },
      wait: async (delayMs) => void delaysMs.push(delayMs),
    });
    lane.accept([item(1), item(2), item(3)]);
    await vi.waitFor(() => expect(lane.doneOffset).toBe(4));
    expect(tries).toEqual([1, 1, 1, 1, 1, 2, 2, 3]);
    expect(delaysMs).toEqual([100, 200, 400, 400, 100]);
  });

  it("leaves out what it was given before", async () => {
    const done: number[] = [];
    const lane = laneWith({
      process: async ({ offset }) => {
        done.push(offset);
        await Promise.resolve();
      },
    });
    lane.accept([item(1), item(2)]);
    lane.accept([item(1), item(2), item(3)]);
    await vi.waitFor(() => expect(lane.doneOffset).toBe(4));
    expect(done).toEqual([1, 2, 3]);
  });

  it("says where to go on behind holes and control records", async () => {
    const lane = laneWith({});
    lane.accept([{ offset: 1, nextOffset: 9, byteLength: 0 }]);
    await vi.waitFor(() => expect(lane.doneOffset).toBe(9));
    expect(lane.acceptedOffset).toBe(9);
  });

  it("drops what waits when it is closed, and resolves when the item in hand is done", async () => {
    let finish: (() => void) | undefined;
    const done: number[] = [];
    const lane = laneWith({
      process: async ({ offset }) => {
        await new Promise<void>((resolve) => (finish = resolve));
        done.push(offset);
      },
    });
    lane.accept([item(1), item(2)]);
    await vi.waitFor(() => expect(finish).toBeDefined());
    const closed = lane.close();
    finish?.();
    await closed;
    lane.accept([item(3)]);
    expect(done).toEqual([1]);
    expect(lane.doneOffset).toBe(2);
    expect(lane.pending).toBe(0);
  });

  it("ends waiting for a retry at once when it is closed; the item does not count as done", async () => {
    const failed = vi.fn();
    const lane = new PartitionLane<LaneItem>({
      prepare: () => ({ touches: [], run: () => Promise.reject(new Error("away")) }),
      backoff: { initialMs: 3_600_000, maxMs: 3_600_000 },
      onFailure: failed,
    });
    lane.accept([item(1)]);
    await vi.waitFor(() => expect(failed).toHaveBeenCalledOnce());
    await lane.close();
    expect(lane.doneOffset).toBeUndefined();
  });

  it("begins only after an earlier lane of the partition has let go", async () => {
    let letGo = (): void => undefined;
    const after = new Promise<void>((resolve) => (letGo = resolve));
    const process = vi.fn(async () => Promise.resolve());
    const lane = laneWith({ process, after });
    lane.accept([item(1)]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(process).not.toHaveBeenCalled();
    letGo();
    await vi.waitFor(() => expect(lane.doneOffset).toBe(2));
  });

  it("handles what touches different things at the same time, and says that it is done without gaps", async () => {
    const release = new Map<number, () => void>();
    const done = vi.fn();
    const lane = laneWith({
      touches: ({ offset }) => [`order ${offset}`],
      process: ({ offset }) => new Promise<void>((resolve) => release.set(offset, resolve)),
      onDone: done,
    });
    lane.accept([item(1), item(2), item(3)]);
    await vi.waitFor(() => expect([...release.keys()]).toEqual([1, 2, 3]));
    release.get(3)?.();
    release.get(2)?.();
    await new Promise((resolve) => setImmediate(resolve));
    expect(lane.doneOffset).toBeUndefined();
    expect(lane.pending).toBe(3);
    expect(done).not.toHaveBeenCalled();
    release.get(1)?.();
    await vi.waitFor(() => expect(lane.doneOffset).toBe(4));
    expect(done).toHaveBeenCalledTimes(3);
    expect(lane.pending).toBe(0);
  });

  it("holds behind a failure only what touches the same, and tells only of the first that is not done", async () => {
    let isAway = true;
    const done: number[] = [];
    const failed: number[] = [];
    const lane = laneWith({
      touches: ({ offset }) => (offset === 2 ? ["a", "b"] : offset % 2 === 0 ? ["b"] : ["a"]),
      process: async ({ offset }) => {
        if (isAway && offset <= 2) throw new Error("away");
        done.push(offset);
        await Promise.resolve();
      },
      wait: () => new Promise((resolve) => setImmediate(resolve)),
      onFailure: ({ offset }) => failed.push(offset),
    });
    lane.accept([item(1), item(2), item(3), item(4)]);
    await vi.waitFor(() => expect(failed.length).toBeGreaterThan(2));
    expect(done).toEqual([]);
    isAway = false;
    await vi.waitFor(() => expect(lane.doneOffset).toBe(5));
    expect(done).toEqual([1, 2, 3, 4]);
    expect(new Set(failed)).toEqual(new Set([1]));
  });

  it("does all once each and in the order of each thing, whatever fails and however long each takes", async () => {
    const random = new Random(11).next;
    const things = Array.from({ length: 400 }, () =>
      Array.from({ length: 1 + Math.floor(random() * 2) }, () => `thing ${Math.floor(random() * 12)}`),
    );
    const done: number[] = [];
    let inHand = 0;
    let mostInHand = 0;
    const lane = laneWith({
      touches: ({ offset }) => things[offset] ?? [],
      process: async ({ offset }) => {
        inHand += 1;
        mostInHand = Math.max(mostInHand, inHand);
        for (let turns = Math.floor(random() * 4); turns > 0; turns -= 1)
          await new Promise((resolve) => setImmediate(resolve));
        inHand -= 1;
        if (random() < 0.2) throw new Error("away");
        done.push(offset);
      },
      wait: () => new Promise((resolve) => setImmediate(resolve)),
    });
    for (let start = 0; start < 400; start += 40)
      lane.accept(Array.from({ length: 40 }, (_, index) => item(start + index)));
    await vi.waitFor(() => expect(lane.doneOffset).toBe(400));
    expect(mostInHand).toBeGreaterThan(1);
    expect([...done].sort((a, b) => a - b)).toEqual(things.map((_, index) => index));
    for (const thing of new Set(things.flat())) {
      const ofThing = done.filter((offset) => things[offset]?.includes(thing));
      expect(ofThing).toEqual([...ofThing].sort((a, b) => a - b));
    }
  });

  it("takes nothing further in hand while the first that is not done fails", async () => {
    let isAway = true;
    const done: number[] = [];
    const lane = laneWith({
      touches: ({ offset }) => [`order ${offset}`],
      process: async ({ offset }) => {
        if (isAway && offset === 0) throw new Error("away");
        done.push(offset);
        await Promise.resolve();
      },
      wait: () => new Promise((resolve) => setImmediate(resolve)),
    });
    lane.accept(Array.from({ length: 100 }, (_, index) => item(index)));
    await vi.waitFor(() => expect(done).toHaveLength(63));
    for (let turns = 0; turns < 20; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(done).toHaveLength(63);
    isAway = false;
    await vi.waitFor(() => expect(lane.doneOffset).toBe(100));
    expect(done).toHaveLength(100);
  });

  it("knows what an item touches when it begins, also where beginning it brings the next", async () => {
    const begun: number[] = [];
    let finish = (): void => undefined;
    const lane = laneWith({
      process: ({ offset }) => {
        begun.push(offset);
        if (offset === 1) lane.accept([item(2)]);
        return offset === 1 ? new Promise((resolve) => (finish = resolve)) : Promise.resolve();
      },
    });
    lane.accept([item(1)]);
    await vi.waitFor(() => expect(begun).toEqual([1]));
    await new Promise((resolve) => setImmediate(resolve));
    expect(begun).toEqual([1]);
    finish();
    await vi.waitFor(() => expect(begun).toEqual([1, 2]));
  });

  it("has no more than so many in hand", async () => {
    const started: number[] = [];
    const lane = laneWith({
      touches: () => [],
      process: ({ offset }) => {
        started.push(offset);
        return new Promise<void>(() => undefined);
      },
    });
    lane.accept(Array.from({ length: 200 }, (_, index) => item(index)));
    await vi.waitFor(() => expect(started).toHaveLength(64));
    await new Promise((resolve) => setImmediate(resolve));
    expect(started).toHaveLength(64);
  });
});
