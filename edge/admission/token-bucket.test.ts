import { describe, expect, it } from "vitest";
import { fillTimeMs, TokenBucket } from "./token-bucket.js";

const take = (bucket: TokenBucket, count: number, nowMs: number) =>
  Array.from({ length: count }, () => bucket.tryTake(nowMs)).filter(Boolean).length;

describe("TokenBucket", () => {
  it("gives its burst at once, then its rate", () => {
    const bucket = new TokenBucket({ ratePerSecond: 10, burst: 5 }, 0);
    expect(take(bucket, 20, 0)).toBe(5);
    expect(take(bucket, 20, 300)).toBe(3);
    let taken = 0;
    for (let nowMs = 301; nowMs <= 10_300; nowMs++) taken += take(bucket, 1, nowMs);
    expect(taken).toBe(100);
  });

  it("never holds more than its burst", () => {
    const bucket = new TokenBucket({ ratePerSecond: 10, burst: 5 }, 0);
    expect(take(bucket, 20, 3_600_000)).toBe(5);
  });

  it("says after how long there is a token, rightly to the millisecond", () => {
    const bucket = new TokenBucket({ ratePerSecond: 3, burst: 1 }, 0);
    expect(bucket.waitMs(0)).toBe(0);
    expect(bucket.tryTake(0)).toBe(true);
    const waitMs = bucket.waitMs(0);
    expect(waitMs).toBe(334);
    expect(bucket.tryTake(waitMs - 1)).toBe(false);
    expect(bucket.tryTake(waitMs)).toBe(true);
  });

  it("neither gives nor takes anything when the clock goes back", () => {
    const bucket = new TokenBucket({ ratePerSecond: 10, burst: 5 }, 1000);
    expect(take(bucket, 4, 1000)).toBe(4);
    expect(take(bucket, 5, 0)).toBe(1);
    expect(take(bucket, 5, 1000)).toBe(0);
    expect(take(bucket, 5, 1100)).toBe(1);
  });

  it("is full again after its fill time", () => {
    const rate = { ratePerSecond: 3, burst: 7 };
    const bucket = new TokenBucket(rate, 0);
    take(bucket, 7, 0);
    expect(take(bucket, 20, fillTimeMs(rate))).toBe(7);
  });
});
