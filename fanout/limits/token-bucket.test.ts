import { describe, expect, it } from "vitest";
import { msUntil, TokenBucket } from "./token-bucket.js";

/** A token each 60 ms. */
const LIMIT = { count: 1000, windowMs: 60_000 };

describe("a token bucket", () => {
  it("is full at first, and grants what there is", () => {
    const bucket = new TokenBucket(0);
    expect(bucket.draw(LIMIT, 900, 0)).toEqual({ granted: 900, left: 100 });
    expect(bucket.draw(LIMIT, 900, 0)).toEqual({ granted: 100, left: 0 });
    expect(bucket.draw(LIMIT, 1, 0)).toEqual({ granted: 0, left: 0 });
  });

  it("fills steadily, and never beyond full", () => {
    const bucket = new TokenBucket(0);
    bucket.draw(LIMIT, 1000, 0);
    expect(bucket.draw(LIMIT, 10, 59)).toMatchObject({ granted: 0 });
    expect(bucket.draw(LIMIT, 10, 60)).toMatchObject({ granted: 1 });
    expect(bucket.draw(LIMIT, 1000, 60 + 30_000)).toMatchObject({ granted: 500 });
    expect(bucket.draw(LIMIT, 5000, 10_000_000)).toMatchObject({ granted: 1000 });
  });

  it("loses nothing to rounding, however often it is asked", () => {
    const limit = { count: 7, windowMs: 1000 };
    const bucket = new TokenBucket(0);
    bucket.draw(limit, 7, 0);
    let granted = 0;
    for (let nowMs = 1; nowMs <= 100_000; nowMs += 1) granted += bucket.draw(limit, 7, nowMs).granted;
    expect(granted).toBe(700);
  });

  it("gives and takes nothing where the clock goes back", () => {
    const bucket = new TokenBucket(100_000);
    bucket.draw(LIMIT, 400, 100_000);
    expect(bucket.draw(LIMIT, 100, 0)).toEqual({ granted: 100, left: 500 });
    expect(bucket.draw(LIMIT, 1000, 600)).toMatchObject({ granted: 510 });
  });

  it("keeps what was spent where another limit looks at it", () => {
    const bucket = new TokenBucket(0);
    bucket.draw({ count: 200, windowMs: 60_000 }, 150, 0);
    expect(bucket.draw({ count: 100, windowMs: 60_000 }, 1, 0)).toEqual({ granted: 0, left: -50 });
    expect(bucket.draw({ count: 300, windowMs: 60_000 }, 1, 0)).toEqual({ granted: 1, left: 149 });
  });

  it("says when there will be so many: then there are, and not before", () => {
    for (const left of [0, 0.3, 0.999, -20.5]) {
      const bucket = new TokenBucket(0);
      bucket.copy(LIMIT, left, 0);
      const inMs = msUntil(20, LIMIT, left);
      expect(bucket.draw(LIMIT, 20, inMs - 1).granted).toBeLessThan(20);
      bucket.copy(LIMIT, left, 0);
      expect(bucket.draw(LIMIT, 20, inMs).granted).toBe(20);
    }
    expect(msUntil(20, LIMIT, 21)).toBe(0);
  });
});
