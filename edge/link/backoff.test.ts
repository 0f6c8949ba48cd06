import { describe, expect, it } from "vitest";
import { Backoff } from "./backoff.js";

const LIMITS = { firstMs: 100, maxMs: 2000, provenMs: 10_000 };

describe("Backoff", () => {
  it("doubles up to its maximum, however often it is asked", () => {
    const backoff = new Backoff({ ...LIMITS, random: () => 1 });
    const waits = Array.from({ length: 2000 }, () => backoff.nextMs(0));
    expect(waits.slice(0, 6)).toEqual([100, 200, 400, 800, 1600, 2000]);
    expect(waits.at(-1)).toBe(2000);
  });

  it("spreads the waits over half of each", () => {
    for (const random of [0, 0.25, 0.999]) {
      const wait = new Backoff({ ...LIMITS, random: () => random }).nextMs(0);
      expect(wait).toBe(50 + 50 * random);
    }
  });

  it("is short again only after an attempt that lasted", () => {
    const backoff = new Backoff({ ...LIMITS, random: () => 1 });
    for (let count = 0; count < 4; count += 1) backoff.nextMs(9999);
    expect(backoff.nextMs(9999)).toBe(1600);
    expect(backoff.nextMs(10_000)).toBe(100);
    expect(backoff.nextMs(0)).toBe(200);
  });
});
