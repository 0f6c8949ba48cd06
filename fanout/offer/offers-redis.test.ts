/** Offers in Redis: the contract, on a Redis of its own, and lifetimes of its keys. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { RedisOutbox } from "#fanout/outbox/outbox-redis.js";
import { askedOffersKey, fencingNumberKey, offerKeys } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { newOffer } from "./offer-request.js";
import { RedisOffers } from "./offers-redis.js";
import { expectFairLook } from "./offers-due.contract.js";
import { describeNumbersAndAsked } from "./offer-numbers.contract.js";
import {
  describeOffers,
  MAX_OPEN,
  OUTBOX_BOUND,
  RETENTION_MS,
  type OffersHarness,
} from "./offers.contract.js";

const redis: { running: RunningRedis | undefined } = { running: undefined };

describe("on a Redis of its own", () => {
  beforeEach(async () => {
    redis.running ??= await startRedis();
    return async () => {
      await redis.running?.kill();
      redis.running = undefined;
    };
  });

  const harness = async (): Promise<OffersHarness> => {
    const url = redis.running?.url ?? "";
    const connections = await Promise.all([
      RedisConnection.connect({ url }),
      RedisConnection.connect({ url }),
    ]);
    const bounds = { retentionMs: RETENTION_MS, outboxBound: OUTBOX_BOUND, maxOpen: MAX_OPEN };
    return {
      offers: new RedisOffers({ connection: connections[0], ...bounds }),
      elsewhere: new RedisOffers({ connection: connections[1], ...bounds }),
      outbox: new RedisOutbox({ connection: connections[0] }),
      close: async () => {
        for (const connection of connections) connection.close();
      },
    };
  };

  describeOffers("offers in Redis", harness);
  describeNumbersAndAsked("fencing numbers and who was asked, in Redis", harness);

  it("finds what is due in each partition, however much waits in another", async () => {
    const connection = await RedisConnection.connect({ url: redis.running?.url ?? "" });
    await expectFairLook(new RedisOffers({ connection }), { app: "default" }).finally(() =>
      connection.close(),
    );
  });
});

const ASKED = {
  subjectId: "42",
  mode: "all_at_once" as const,
  candidates: ["p1"],
  timeLimitMs: 60_000,
  candidateTimeLimitMs: 0,
  data: undefined,
  correlationId: "",
  traceparent: "",
};

describe("offers in Redis, by themselves", () => {
  let connection: RedisConnection;
  let offers: RedisOffers;
  const app = `app-${randomUUID()}`;

  beforeEach(async () => {
    connection = await RedisConnection.connect({ url: inject("redisUrl") });
    offers = new RedisOffers({ connection, retentionMs: 60_000 });
  });
  afterEach(() => connection.close());

  const pttl = (key: string): Promise<number> => connection.run((client) => client.pttl(key));

  it("lets an open offer live until it ends, and then for its time after its deadline", async () => {
    const name = { app, offerId: "o1" };
    const { offer, changes } = offerKeys(name);
    await offers.apply(name, { type: "create", offer: newOffer({ ...ASKED, ...name }) });
    await offers.delivered(name, [1]);
    expect(await pttl(offer)).toBe(-1);
    await offers.apply(name, { type: "withdraw", reason: "" });
    expect(await pttl(offer)).toBe(-1);
    await offers.delivered(name, [2]);
    expect(await pttl(offer)).toBeGreaterThan(110_000);
    expect(await pttl(offer)).toBeLessThanOrEqual(120_000);
    expect(await pttl(changes)).toBe(-2);
  });

  it("looks once, and no more, at an offer that was lost", async () => {
    const name = { app, offerId: "lost" };
    const { offer, partition } = offerKeys(name);
    const due = async () => (await offers.due([partition.index], 0)).overdue;
    await offers.apply(name, {
      type: "create",
      offer: { ...newOffer({ ...ASKED, ...name }), timeLimitMs: 1 },
    });
    await connection.run((client) => client.del(offer));
    await vi.waitFor(async () => expect(await due()).toContainEqual(name));
    expect((await offers.apply(name, { type: "look" })).outcome).toBe("unknown");
    expect(await due()).not.toContainEqual(name);
    expect((await offers.due([partition.index], 0)).undelivered).not.toContainEqual(name);
  });

  it("forgets fencing numbers and whom it asked after their time", async () => {
    await offers.nextFencingNumber(app, "42");
    expect(await pttl(fencingNumberKey(app, "42").key)).toBeGreaterThan(29 * 86_400_000);
    await offers.noteAsked(app, "p1", { offerId: "o1", untilMs: Date.now() + 30_000 });
    await offers.noteAsked(app, "p1", { offerId: "o2", untilMs: Date.now() + 20_000 });
    const ttlMs = await pttl(askedOffersKey(app, "p1").key);
    expect(ttlMs).toBeGreaterThan(25_000);
    expect(ttlMs).toBeLessThanOrEqual(30_000);
  });

  it("draws greater numbers than one that is ahead of the clock", async () => {
    const ahead = Date.now() * 1000 + 3_600_000_000;
    await connection.run((client) => client.set(fencingNumberKey(app, "clock").key, String(ahead)));
    expect(await offers.nextFencingNumber(app, "clock")).toBe(ahead + 1);
  });
});
