import { describe, expect, it, vi } from "vitest";
import { PartitionLane, type LaneItem, type LaneOptions } from "./partition-lane.js";

function item(offset: number): LaneItem {
  return { offset, nextOffset: offset + 1 };
}

function laneWith(options: Partial<LaneOptions<LaneItem>>): PartitionLane<LaneItem> {
  return new PartitionLane({
    process: async () => Promise.resolve(),
    backoff: { initialMs: 100, maxMs: 400, random: () => 0 },
    wait: async () => Promise.resolve(),
    ...options,
  });
}

describe("PartitionLane", () => {
  it("handles one item after the other, in order", async () => {
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
    await vi.waitFor(() => expect(lane.pending).toBe(0));
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
    lane.accept([{ offset: 1, nextOffset: 9 }]);
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
      process: async () => Promise.reject(new Error("away")),
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
});
