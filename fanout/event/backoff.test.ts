import { describe, expect, it } from "vitest";
import { Backoff } from "./backoff.js";

describe("Backoff", () => {
  it("doubles with each failure up to its cap, and begins anew after a reset", () => {
    const backoff = new Backoff({ initialMs: 100, maxMs: 500, random: () => 0 });
    expect([1, 2, 3, 4, 5].map(() => backoff.nextMs())).toEqual([100, 200, 400, 500, 500]);
    backoff.reset();
    expect(backoff.nextMs()).toBe(100);
  });

  it("shortens a delay by up to 30 %, so that those who failed together do not come back together", () => {
    const backoff = new Backoff({ initialMs: 1_000, maxMs: 1_000, random: () => 1 });
    expect(backoff.nextMs()).toBe(700);
  });

  it("stays at its cap after any number of failures", () => {
    const backoff = new Backoff({ initialMs: 1, maxMs: 10_000, random: () => 0 });
    for (let failures = 0; failures < 5_000; failures += 1) backoff.nextMs();
    expect(backoff.nextMs()).toBe(10_000);
  });
});
