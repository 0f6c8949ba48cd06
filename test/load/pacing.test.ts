import { describe, expect, test } from "vitest";
import { paced } from "./pacing.js";

describe("paced work", () => {
  const fast = {
    perSecond: 1000,
    seconds: 0.05,
    sleep: () => new Promise<void>((done) => setTimeout(done, 1)),
  };

  test("is done as often as the rate and the time say, numbered from 1", async () => {
    const done: number[] = [];
    expect(await paced(fast, async (sequence) => void done.push(sequence))).toBe(50);
    expect(done).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
  });

  test("does not wait for one to begin the next, but for all to end", async () => {
    let ended = 0;
    let theSecondBegan = (): void => undefined;
    const second = new Promise<void>((resolve) => (theSecondBegan = resolve));
    const total = await paced(fast, async (sequence) => {
      if (sequence === 2) theSecondBegan();
      await second;
      ended += 1;
    });
    expect(ended).toBe(total);
  });

  test("ends with the first failure", async () => {
    let calls = 0;
    const work = async (sequence: number): Promise<void> => {
      calls += 1;
      if (sequence === 2) throw new Error("refused");
    };
    await expect(paced({ ...fast, seconds: 60 }, work)).rejects.toThrow("refused");
    expect(calls).toBeLessThan(1000);
  });
});
