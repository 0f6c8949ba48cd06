/** Resumable sessions in Redis: the contract, and what is left in the store. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { resumableKeys } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisResumableSessions } from "./resumable-sessions-redis.js";
import { MAX_RESUMABLE_SESSIONS } from "./resumable-sessions.js";
import { describeResumableSessions } from "./resumable-sessions.contract.js";

describeResumableSessions("resumable sessions in Redis", async ({ ttlMs }) => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  return {
    store: new RedisResumableSessions({ connection, ttlMs }),
    close: async () => connection.close(),
  };
});

describe("resumable sessions in Redis, by themselves", () => {
  let connection: RedisConnection;
  let store: RedisResumableSessions;
  const owner = { app: `app-${randomUUID()}`, userId: "u1" };

  beforeEach(async () => {
    connection = await RedisConnection.connect({ url: inject("redisUrl") });
    store = new RedisResumableSessions({ connection });
  });
  afterEach(() => connection.close());

  const save = (sessionId: string) =>
    store.save({
      ...owner,
      sessionId,
      generation: 1,
      isGenerationConfirmed: false,
      connectionId: "c1",
      homeStampUs: 1,
      cursors: new Map(),
      isWhole: true,
    });

  it("live for a day, and no more of a user's than may be are in the store", async () => {
    const ids = Array.from({ length: MAX_RESUMABLE_SESSIONS + 5 }, (_, index) => `s${index}`);
    for (const id of ids) await save(id);
    const keys = ids.map((id) => resumableKeys(owner, id));
    const left = await connection.run((client) =>
      Promise.all(keys.map(({ record }) => client.exists(record))),
    );
    expect(left.reduce((sum, exists) => sum + exists, 0)).toBe(MAX_RESUMABLE_SESSIONS);
    const [last] = keys.slice(-1);
    if (last === undefined) throw new Error("no session");
    const ttlsMs = await connection.run((client) =>
      Promise.all([client.pttl(last.record), client.pttl(last.index)]),
    );
    for (const ttlMs of ttlsMs) {
      expect(ttlMs).toBeGreaterThan(86_390_000);
      expect(ttlMs).toBeLessThanOrEqual(86_400_000);
    }
  });
});
