/** What a connect and its end cost the store: in a storm of them each call counts. */
import { expect, it, vi } from "vitest";
import { MemoryEventBus } from "#fanout/event/event-bus-memory.js";
import { Fanout } from "#fanout/fanout.js";
import { loadFanoutConfig } from "#services/config/load.js";
import { FakeEdge } from "#test/support/fake-edge.js";
import { SILENT } from "#test/support/fanout-core.js";
import { startRedis } from "#test/support/redis.js";
import { openStores } from "./stores.js";

const SESSIONS = 50;
const PATIENCE = { timeout: 10_000 };
/** By operation, for one session. Subscribing is not among them: sessions of one turn and partition share a command. */
const CONNECT = {
  "admit-session": 1,
  "read-state": 1,
  "read-members-versions": 1,
  "save-resumable": 1,
  // Connected, and announced.
  "change-user": 2,
};
const WORKER = { ...CONNECT, "read-asked": 1 };
const CLOSE = { "change-user": 1, "remove-sessions": 1 };

it.each([
  ["a customer", "customer", CONNECT],
  ["a worker, who may have been offered something", "porter", WORKER],
])("the connect of %s costs so many calls, and its end", async (_, role, connectCalls) => {
  const redis = await startRedis();
  const config = loadFanoutConfig({ REDIS_URL: redis.url, NODE_ENV: "test" });
  const { stores, operations, close } = await openStores(config, { ...SILENT });
  const fanout = new Fanout({
    fanoutId: "fanout-1",
    version: "test",
    stores,
    eventSink: new MemoryEventBus({ topics: [] }),
    locationSampleEvery: 10,
    locationTopic: "porter-events",
    // Comparing followed channels with the store is no part of a connect.
    sweepIntervalMs: 3_600_000,
    dependencies: () => [],
    logger: SILENT,
  });
  try {
    const edge = new FakeEdge();
    fanout.acceptLink(edge);
    edge.greet();
    // The channels of everyone and of the role are there for all who come after the first.
    edge.open(SESSIONS + 1, { userId: "first", role });
    const isFirstIn = () => new Map(operations()).get("save-resumable") === 1 && fanout.followedChannels >= 3;
    await vi.waitFor(() => expect(isFirstIn()).toBe(true), PATIENCE);
    await vi.waitFor(() => expect(new Map(operations()).get("change-user")).toBe(2), PATIENCE);
    let before = new Map(operations());
    const calls = (per: Readonly<Record<string, number>>) => {
      const now = new Map(operations());
      return Object.keys(per).map((name) => [name, (now.get(name) ?? 0) - (before.get(name) ?? 0)]);
    };
    const expected = (per: Readonly<Record<string, number>>) =>
      Object.entries(per).map(([name, count]) => [name, count * SESSIONS]);

    for (let number = 1; number <= SESSIONS; number += 1) edge.open(number, { userId: `u${number}`, role });
    await vi.waitFor(() => expect(calls(connectCalls)).toEqual(expected(connectCalls)), PATIENCE);
    // What is gathered for a moment, or written by a tick, is written before a tick has come twice more.
    const ticks = () => new Map(operations()).get("read-revocations") ?? 0;
    const enough = ticks() + 2;
    await vi.waitFor(() => expect(ticks()).toBeGreaterThanOrEqual(enough), PATIENCE);
    expect(calls({ ...connectCalls, "put-session": 0 })).toEqual(
      expected({ ...connectCalls, "put-session": 0 }),
    );

    before = new Map(operations());
    for (let session = 1; session <= SESSIONS; session += 1) {
      edge.say({ $case: "close", value: { session, reason: "client" } });
    }
    await vi.waitFor(() => expect(calls(CLOSE)).toEqual(expected(CLOSE)), PATIENCE);
  } finally {
    await fanout.stop();
    close();
    await redis.stop();
  }
});
