import { describe, expect, it } from "vitest";
import { StoreTime } from "./store-time.js";

const STORE_AHEAD_US = 5_000_000;

describe("StoreTime", () => {
  it("is this process's clock until the store has said something", () => {
    expect(new StoreTime(() => 1000).nowUs()).toBe(1_000_000);
    const time = new StoreTime(() => 1000);
    time.observe({ storeUs: 0, askedMs: 900, answeredMs: 910 });
    expect(time.nowUs()).toBe(1_000_000);
  });

  it("learns the difference, the answer's time being halfway between asking and hearing", () => {
    const time = new StoreTime(() => 2000);
    time.observe({ storeUs: 1_010_000 + STORE_AHEAD_US, askedMs: 1000, answeredMs: 1020 });
    expect(time.nowUs()).toBe(2_000_000 + STORE_AHEAD_US);
  });

  it("believes the quickest answer, as a slow one says less", () => {
    const time = new StoreTime(() => 2000);
    time.observe({ storeUs: 1_001_000 + STORE_AHEAD_US, askedMs: 1000, answeredMs: 1002 });
    time.observe({ storeUs: 9_000_000, askedMs: 1000, answeredMs: 1500 });
    expect(time.nowUs()).toBe(2_000_000 + STORE_AHEAD_US);
  });

  it("follows a clock that drifts, after a while also by slower answers", () => {
    const time = new StoreTime(() => 2000);
    time.observe({ storeUs: 1_001_000, askedMs: 1000, answeredMs: 1002 });
    for (let times = 0; times < 20; times += 1) {
      time.observe({ storeUs: 1_005_000 + STORE_AHEAD_US, askedMs: 1000, answeredMs: 1010 });
    }
    expect(time.nowUs()).toBe(2_000_000 + STORE_AHEAD_US);
  });
});
