/** Limits in Redis: the contract, one call for each draw, and how long a bucket is kept. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { limitKey } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { startRedis } from "#test/support/redis.js";
import { waitFor } from "#test/support/wait-for.js";
import { FanoutCounters } from "../fanout-counters.js";
import { Allowances } from "./allowances.js";
import { RedisLimits } from "./limits-redis.js";
import { describeLimits } from "./limits.contract.js";
import { DEFAULT_RATE_LIMITS } from "./rate-limits.js";

describeLimits("limits in Redis", async () => {
  const connections = await Promise.all([connect(inject("redisUrl")), connect(inject("redisUrl"))]);
  const [here, elsewhere] = connections;
  return {
    limits: [new RedisLimits({ connection: here }), new RedisLimits({ connection: elsewhere })],
    close: async () => connections.forEach((connection) => connection.close()),
  };
});

describe("limits in Redis, by themselves", () => {
  let connection: RedisConnection;
  let app: string;

  beforeEach(async () => {
    connection = await connect(inject("redisUrl"));
    app = `app-${randomUUID()}`;
  });
  afterEach(() => connection.close());

  it("keep a bucket until it is full again, and no longer", async () => {
    const limits = new RedisLimits({ connection });
    const draw = { app, userId: "u1", limitClass: "chat", limit: { count: 50, windowMs: 60_000 } } as const;
    await limits.draw({ ...draw, wanted: 25 });
    const { key } = limitKey({ app, userId: "u1" }, "chat");
    const ttlMs = await connection.run((client) => client.pttl(key));
    expect(ttlMs).toBeGreaterThan(25_000);
    expect(ttlMs).toBeLessThanOrEqual(30_000);
    await limits.draw({ ...draw, limit: { count: 50, windowMs: 50 }, wanted: 1 });
    await waitFor(async () => (await connection.run((client) => client.exists(key))) === 0, {
      what: "the full bucket to be gone",
    });
  });

  it("do not keep who spent more than a lowered limit waiting beyond the window of the former one", async () => {
    const limits = new RedisLimits({ connection });
    const draw = { app, userId: "u1", limitClass: "chat" } as const;
    const [former, lowered] = [
      { count: 5000, windowMs: 1000 },
      { count: 1, windowMs: 60_000 },
    ];
    expect((await limits.draw({ ...draw, limit: former, wanted: 5000 })).granted).toBe(5000);
    const startMs = performance.now();
    await waitFor(async () => (await limits.draw({ ...draw, limit: lowered, wanted: 1 })).granted === 1, {
      what: "a token of the lowered limit",
    });
    expect(performance.now() - startMs).toBeGreaterThan(800);
  });

  it("fill up from a draw on where Redis's clock has gone back", async () => {
    const limits = new RedisLimits({ connection });
    const limit = { count: 10, windowMs: 100 };
    const { key } = limitKey({ app, userId: "u1" }, "chat");
    const stored = Buffer.alloc(16);
    stored.writeDoubleBE(10, 0);
    stored.writeDoubleBE(Date.now() + 3_600_000, 8);
    await connection.run((client) => client.set(key, stored));
    await waitFor(
      async () => {
        const draw = { app, userId: "u1", limitClass: "chat", limit, wanted: 1 } as const;
        return (await limits.draw(draw)).granted === 1;
      },
      { what: "a token" },
    );
  });

  it("are asked at most once for 20 location updates of a worker, on two devices", async () => {
    const counters = new FanoutCounters();
    const allowances = new Allowances({
      limits: new RedisLimits({ connection }),
      rateLimits: DEFAULT_RATE_LIMITS,
      counters,
      nowMs: () => performance.now(),
    });
    const worker = {
      app,
      userId: "w1",
      role: "porter",
      tokenId: "",
      issuedAt: 0,
      expiresAt: 0,
      claimsJson: "",
    };
    const devices = [allowances.enter(worker), allowances.enter(worker)];
    let admitted = 0;
    for (let update = 1; update <= 900; update += 1) {
      if ((await devices[update % 2]?.take("location")) === 0) admitted += 1;
      const asked = connection.operations().get("draw-tokens") ?? 0;
      expect(asked).toBeLessThanOrEqual(Math.ceil(update / 20));
    }
    expect(admitted).toBe(900);
    expect(counters.limitDraws).toBeGreaterThan(0);
  });
});

it("a fanout without its Redis goes on by its own copy of the buckets, and Redis's own hold again after", async () => {
  const redis = await startRedis({ args: ["--appendonly", "yes"] });
  const connection = await connect(redis.url);
  const counters = new FanoutCounters();
  const limit = { count: 40, windowMs: 86_400_000 };
  const rateLimits = { ...DEFAULT_RATE_LIMITS, byClass: { ...DEFAULT_RATE_LIMITS.byClass, chat: limit } };
  const limits = new RedisLimits({ connection });
  const allowances = new Allowances({ limits, rateLimits, counters, nowMs: () => performance.now() });
  const user = {
    app: "app",
    userId: "u1",
    role: "user",
    tokenId: "",
    issuedAt: 0,
    expiresAt: 0,
    claimsJson: "",
  };
  const device = allowances.enter(user);
  const admittedOf = async (frames: number): Promise<number> => {
    let admitted = 0;
    for (let frame = 0; frame < frames; frame += 1) if ((await device.take("chat")) === 0) admitted += 1;
    return admitted;
  };
  let again: Awaited<ReturnType<typeof startRedis>> | undefined;
  try {
    expect(await admittedOf(10)).toBe(10);
    await redis.kill();
    expect(await admittedOf(20)).toBe(20);
    expect(counters.limitDrawsWithoutStore).toBeGreaterThan(0);
    again = await startRedis({ port: redis.port, folder: redis.folder, args: ["--appendonly", "yes"] });
    await waitFor(() => connection.status().isUp, { what: "Redis to be back" });
    const draws = counters.limitDraws;
    let admitted = 0;
    await waitFor(
      async () => {
        admitted += await admittedOf(1);
        return counters.limitDraws > draws || admitted > 10;
      },
      { what: "a draw from Redis", pollMs: 200 },
    );
    expect(admitted + (await admittedOf(20))).toBe(10);
  } finally {
    connection.close();
    await again?.kill();
    await redis.kill();
  }
});

function connect(url: string): Promise<RedisConnection> {
  return RedisConnection.connect({ url });
}
