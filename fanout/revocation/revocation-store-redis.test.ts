/** Revocations in Redis: the contract, and how long the keys live. */
import { randomUUID } from "node:crypto";
import { expect, inject, it } from "vitest";
import { revocationKeys } from "#fanout/redis/keys.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RedisRevocationStore } from "./revocation-store-redis.js";
import { describeRevocationStore, MAX_IN_CONTRACT } from "./revocation-store.contract.js";

describeRevocationStore("the revocation store in Redis", async () => {
  const connections = await Promise.all(
    [1, 2].map(() => RedisConnection.connect({ url: inject("redisUrl") })),
  );
  const [first, second] = connections;
  if (first === undefined || second === undefined) throw new Error("no connection");
  const name = `revocations-${randomUUID()}`;
  const on = (connection: RedisConnection) =>
    new RedisRevocationStore({ connection, name, maxRevocations: MAX_IN_CONTRACT });
  const { revocations, versions, expiries, mark } = revocationKeys(name);
  const empty = async (): Promise<void> => {
    await first.run((client) => client.del(revocations, versions, expiries, mark));
  };
  return {
    store: on(first),
    elsewhere: on(second),
    empty,
    close: async () => {
      await empty();
      for (const connection of connections) connection.close();
    },
  };
});

it("lets all of it live as long as the last of what it holds", async () => {
  const connection = await RedisConnection.connect({ url: inject("redisUrl") });
  try {
    const name = `revocations-${randomUUID()}`;
    const store = new RedisRevocationStore({ connection, name });
    const of = (id: string, ms: number) => {
      return { app: "a", subject: "token", id, issuedBeforeMs: 0, expiresAtMs: Date.now() + ms } as const;
    };
    await store.add([of("t1", 600_000)]);
    await store.add([of("t2", 120_000)]);
    const { revocations, versions, expiries, mark } = revocationKeys(name);
    for (const key of [revocations, versions, expiries, mark]) {
      const ttlMs = await connection.run((client) => client.pttl(key));
      expect(ttlMs).toBeGreaterThan(590_000);
      expect(ttlMs).toBeLessThanOrEqual(601_000);
    }
    await connection.run((client) => client.del(revocations, versions, expiries, mark));
  } finally {
    connection.close();
  }
});
