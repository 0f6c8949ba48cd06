/** The kept clock of Redis: against a scripted Redis, and against the real one. */
import { afterEach, describe, expect, inject, it } from "vitest";
import { RedisConnection } from "./redis/redis-connection.js";
import { RedisStoreClock, type RedisClockOptions } from "./store-clock-redis.js";

const started: RedisStoreClock[] = [];

async function start(options: RedisClockOptions): Promise<RedisStoreClock> {
  const clock = await RedisStoreClock.start(options);
  started.push(clock);
  return clock;
}

afterEach(() => {
  for (const clock of started.splice(0)) clock.stop();
});

describe("the clock of Redis", () => {
  it("takes half of the shortest round trip off", async () => {
    let ownMs = 1_000;
    const roundTripsMs = [40, 10, 90, 50, 60];
    let asked = 0;
    const clock = await start({
      monotonicMs: () => ownMs,
      askUs: async () => {
        const roundTripMs = roundTripsMs[asked++ % roundTripsMs.length] ?? 0;
        // The answer was made when half of the way was done for the shortest, but at the very end for the others.
        const answeredMs = ownMs + (roundTripMs === 10 ? 5 : roundTripMs);
        ownMs += roundTripMs;
        return (answeredMs + 7_000_000) * 1000;
      },
    });
    expect(clock.nowUs()).toBe((ownMs + 7_000_000) * 1000);
  });

  it("never goes back and never gives a time twice, also when Redis's clock is set back", async () => {
    let redisMs = 9_000_000;
    const clock = await start({ monotonicMs: () => 0, askUs: async () => redisMs * 1000 });
    const before = [clock.nowUs(), clock.nowUs()];
    redisMs -= 60_000;
    await clock.measure();
    const all = [...before, clock.nowUs(), clock.nowUs()];
    expect(all).toEqual([9_000_000_000, 9_000_000_001, 9_000_000_002, 9_000_000_003]);
    redisMs += 120_000;
    await clock.measure();
    expect(clock.nowUs()).toBe(redisMs * 1000);
  });

  it("goes on with the last difference while Redis is away", async () => {
    let ownMs = 0;
    let isAway = false;
    const clock = await start({
      monotonicMs: () => ownMs,
      askUs: async () => {
        if (isAway) throw new Error("away");
        return (ownMs + 5_000) * 1000;
      },
    });
    isAway = true;
    await expect(clock.measure()).rejects.toThrow("away");
    ownMs = 1_000;
    expect(clock.nowUs()).toBe(6_000_000);
  });

  it("agrees with a real Redis to within 50 ms", async () => {
    const connection = await RedisConnection.connect({ url: inject("redisUrl") });
    try {
      const clock = await start({ askUs: () => connection.timeUs() });
      const before = await connection.timeUs();
      const now = clock.nowUs();
      const after = await connection.timeUs();
      expect(now).toBeGreaterThan(before - 50_000);
      expect(now).toBeLessThan(after + 50_000);
    } finally {
      connection.close();
    }
  });
});
