import { beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { FanoutCounters } from "../fanout-counters.js";
import { MemoryLimits } from "./limits-memory.js";
import type { Draw, Limits } from "./limits.js";
import type { RateLimit } from "./rate-limits.js";
import { TokenLease } from "./token-lease.js";

/** A token each 60 ms; a lease is of 50. */
const LOCATION: RateLimit = { count: 1000, windowMs: 60_000 };
/** A token each 1,200 ms; nothing is drawn in advance. */
const CHAT: RateLimit = { count: 50, windowMs: 60_000 };

let nowMs: number;
let counters: FanoutCounters;
let draws: number[];
let isStoreAway: boolean;
let store: Limits;

beforeEach(() => {
  nowMs = 0;
  counters = new FanoutCounters();
  draws = [];
  isStoreAway = false;
  const memory = new MemoryLimits({ nowMs: () => nowMs });
  store = {
    draw: async (draw: Draw) => {
      draws.push(draw.wanted);
      if (isStoreAway) throw new GatewayError("unavailable", "away", { retryAfterMs: 1000 });
      return memory.draw(draw);
    },
  };
});

function leaseOf(limit: RateLimit): TokenLease {
  const limitClass = limit === CHAT ? "chat" : "location";
  const bucket = { app: "app", userId: "u1", limitClass, limit } as const;
  return new TokenLease({ limits: store, counters, nowMs: () => nowMs }, bucket);
}

/** How many of so many frames, `intervalMs` apart, are admitted. */
async function admitted(lease: TokenLease, frames: number, intervalMs = 0): Promise<number> {
  let count = 0;
  for (let frame = 0; frame < frames; frame += 1) {
    if ((await lease.take()) === 0) count += 1;
    // A draw in advance is answered.
    await new Promise(setImmediate);
    nowMs += intervalMs;
  }
  return count;
}

describe("a lease", () => {
  it("is at most a twentieth of the bucket, and admits without waiting while there is some", async () => {
    const lease = leaseOf(LOCATION);
    expect(await lease.take()).toBe(0);
    expect(draws).toEqual([50]);
    for (let frame = 0; frame < 49; frame += 1) expect(lease.take()).toBe(0);
  });

  it("of chat is nothing in advance: each message draws its own token", async () => {
    const lease = leaseOf(CHAT);
    expect(await admitted(lease, 3)).toBe(3);
    expect(draws).toEqual([1, 1, 1]);
  });

  it("asks the store at most once for 20 frames, at any pace", async () => {
    for (const intervalMs of [0, 1, 10, 50, 59, 61, 100, 1000]) {
      draws = [];
      nowMs += 1_000_000;
      const lease = leaseOf(LOCATION);
      for (let frame = 1; frame <= 1500; frame += 1) {
        await admitted(lease, 1, intervalMs);
        expect(draws.length).toBeLessThanOrEqual(Math.ceil(frame / 20));
      }
      expect(draws.length).toBeGreaterThan(0);
      expect(Math.max(...draws)).toBeLessThanOrEqual(50);
    }
  });

  it("admits as many as the limit allows, and not one more", async () => {
    expect(await admitted(leaseOf(LOCATION), 3000)).toBe(1000);
    nowMs += 60_000;
    const within = await admitted(leaseOf(LOCATION), 10_000, 10);
    // 100 seconds: a full bucket, and what came in them.
    expect(within).toBeLessThanOrEqual(1000 + 100_000 / 60);
    expect(within).toBeGreaterThan(0.97 * (1000 + 100_000 / 60));
  });

  it("never refuses who sends no faster than the bucket fills", async () => {
    expect(await admitted(leaseOf(LOCATION), 5000, 60)).toBe(5000);
    expect(await admitted(leaseOf(CHAT), 500, 1200)).toBe(500);
  });

  it("says when to try again, and means it: refused until then, admitted then", async () => {
    for (const limit of [LOCATION, CHAT]) {
      nowMs += 1_000_000;
      const lease = leaseOf(limit);
      await admitted(lease, limit.count);
      for (let round = 0; round < 20; round += 1) {
        const waitMs = await lease.take();
        expect(waitMs).toBeGreaterThan(0);
        expect(waitMs).toBeLessThanOrEqual(1300);
        nowMs += waitMs - 1;
        expect(await lease.take()).toBe(1);
        nowMs += 1;
        expect(await lease.take()).toBe(0);
        while ((await lease.take()) === 0);
      }
    }
  });

  it("refuses without asking the store, in the same turn, while it knows that the bucket is empty", async () => {
    const lease = leaseOf(LOCATION);
    await admitted(lease, 1001);
    draws = [];
    for (let frame = 0; frame < 1000; frame += 1) expect(typeof lease.take()).toBe("number");
    expect(draws).toEqual([]);
  });

  it("is told to ask again within a window, however far below empty another limit has left the bucket", async () => {
    const former = { ...CHAT, count: 500_000 };
    await store.draw({ app: "app", userId: "u1", limitClass: "chat", limit: former, wanted: 500_000 });
    const waitMs = await leaseOf(CHAT).take();
    expect(waitMs).toBeGreaterThan(59_000);
    expect(waitMs).toBeLessThan(61_000);
  });

  it("lets frames that come at once wait for one draw, enough for all of them", async () => {
    const lease = leaseOf(CHAT);
    const waits = await Promise.all(Array.from({ length: 60 }, async () => lease.take()));
    expect(waits.filter((waitMs) => waitMs === 0)).toHaveLength(50);
    expect(draws.length).toBeLessThanOrEqual(3);
  });

  it("shares its bucket with another home's, and begins with what that left", async () => {
    const [first, second] = [leaseOf(LOCATION), leaseOf(LOCATION)];
    expect(await admitted(first, 600)).toBe(600);
    // What the first holds in advance is not the second's.
    const rest = await admitted(second, 1000);
    expect(rest).toBeGreaterThanOrEqual(350);
    expect(rest).toBeLessThanOrEqual(400);
    expect(rest + (await admitted(first, 100))).toBe(400);
  });
});

describe("while the store is away", () => {
  it("the limit is that of the bucket's copy: no more than was left, and what comes", async () => {
    const lease = leaseOf(CHAT);
    expect(await admitted(lease, 30)).toBe(30);
    isStoreAway = true;
    expect(await admitted(lease, 100)).toBe(20);
    expect(await lease.take()).toBeGreaterThan(0);
    nowMs += 12_000;
    expect(await admitted(lease, 100)).toBe(10);
    expect(counters.limitDrawsWithoutStore).toBeGreaterThan(0);
  });

  it("a user who is not known yet has a full bucket, and no more", async () => {
    isStoreAway = true;
    expect(await admitted(leaseOf(LOCATION), 5000)).toBe(1000);
  });

  it("it is asked once a second", async () => {
    isStoreAway = true;
    const lease = leaseOf(LOCATION);
    await admitted(lease, 200, 10);
    expect(draws.length).toBeLessThanOrEqual(3);
  });

  it("what was granted without it is paid when it is back", async () => {
    const lease = leaseOf(CHAT);
    await admitted(lease, 10);
    isStoreAway = true;
    expect(await admitted(lease, 25)).toBe(25);
    isStoreAway = false;
    // Time for one token.
    nowMs += 1200;
    expect(await admitted(lease, 100)).toBe(16);
  });

  it("what has filled up again meanwhile is owed no more", async () => {
    isStoreAway = true;
    const lease = leaseOf(CHAT);
    expect(await admitted(lease, 50)).toBe(50);
    isStoreAway = false;
    nowMs += 60_000;
    expect(await admitted(lease, 100)).toBe(50);
  });
});
