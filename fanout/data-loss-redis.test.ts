/** Two fanouts on a real Redis that loses messages, or everything: what their sockets are told. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { FakeEdge } from "#test/support/fake-edge.js";
import { eventOf, order, SILENT, status } from "#test/support/fanout-core.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { RedisBroker } from "./channel/broker-redis.js";
import { RedisDirectory } from "./directory/directory-redis.js";
import { MemoryEventBus } from "./event/event-bus-memory.js";
import { Fanout } from "./fanout.js";
import { MemoryPresenceStore } from "#fanout/presence/presence-store-memory.js";
import { MemoryLimits } from "#fanout/limits/limits-memory.js";
import { RedisChatMarks } from "./chat/marks-redis.js";
import { MemorySeenMarks } from "#fanout/notification/seen-marks-memory.js";
import { RedisLocations } from "./location/locations-redis.js";
import { PartitionSentinels } from "./redis/partition-sentinels.js";
import { RedisConnection } from "./redis/redis-connection.js";
import { RedisResumableSessions } from "./session/resumable-sessions-redis.js";
import { MemoryOffers } from "#fanout/offer/offers-memory.js";
import { MemoryRevocationStore } from "#fanout/revocation/revocation-store-memory.js";
import { MemoryResumeKeys } from "./session/resume-keys-memory.js";
import { RedisSessionRegistry } from "./session/session-registry-redis.js";
import { SystemClock } from "./store-clock.js";

const WAIT = { timeout: 10_000, interval: 10 };
const SWEEP_MS = 200;
const FOR_EVER = { expiresAtMs: Number.MAX_SAFE_INTEGER };
const busy = order("42");
const quiet = order("43");

interface Running {
  readonly fanout: Fanout;
  readonly edge: FakeEdge;
  readonly broker: UnreliableBroker;
  readonly connection: RedisConnection;
  stop(): Promise<void>;
}

async function start(redis: RunningRedis, fanoutId: string, rebuildWindowMs: number): Promise<Running> {
  const connection = await RedisConnection.connect({ url: redis.url });
  const sentinels = await PartitionSentinels.start({ connection, rebuildWindowMs });
  const broker = new UnreliableBroker(new RedisBroker({ connection }));
  const fanout = new Fanout({
    fanoutId,
    version: "test",
    stores: {
      broker,
      directory: new RedisDirectory({ connection, sentinels }),
      chatMarks: new RedisChatMarks({ connection }),
      seenMarks: new MemorySeenMarks(),
      locations: new RedisLocations({ connection }),
      registry: new RedisSessionRegistry({ connection }),
      resumables: new RedisResumableSessions({ connection, ttlMs: 3_600_000 }),
      resumeKeys: new MemoryResumeKeys(),
      revocations: new MemoryRevocationStore(),
      offers: new MemoryOffers(),
      limits: new MemoryLimits(),
      presence: new MemoryPresenceStore(),
      clock: new SystemClock(),
      dataLoss: sentinels,
    },
    eventSink: new MemoryEventBus({ topics: [] }),
    locationSampleEvery: 10,
    locationTopic: "porter-events",
    dependencies: () => [],
    sweepIntervalMs: SWEEP_MS,
    logger: SILENT,
  });
  const edge = new FakeEdge();
  fanout.acceptLink(edge);
  edge.greet();
  const stop = async (): Promise<void> => {
    await fanout.stop();
    sentinels.stop();
    connection.close();
  };
  return { fanout, edge, broker, connection, stop };
}

describe("two fanouts on one Redis", () => {
  let redis: RunningRedis;
  let here: Running;
  let there: Running;

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.kill());
  beforeEach(() => setUp(60_000));
  afterEach(tearDown);

  async function tearDown(): Promise<void> {
    await Promise.all([here.stop(), there.stop()]);
    const admin = await RedisConnection.connect({ url: redis.url });
    await admin.run((client) => client.flushall());
    admin.close();
  }

  async function setUp(rebuildWindowMs: number): Promise<void> {
    here = await start(redis, "here", rebuildWindowMs);
    there = await start(redis, "there", rebuildWindowMs);
    for (const channel of [busy, quiet]) {
      await grant("u1", channel);
      await grant("u2", channel);
    }
    for (const [{ edge }, userId] of [
      [here, "u1"],
      [there, "u2"],
    ] as const) {
      edge.open(1, { userId });
      for (const channel of [busy, quiet]) edge.subscribe(1, channel.name);
      await vi.waitFor(() => expect(edge.heard(1)).toContain("subscribed order:43"), WAIT);
      await vi.waitFor(() => expect(edge.heard(1)).toContain("subscribed order:42"), WAIT);
    }
    for (const channel of [busy, quiet]) await publish(channel);
    for (const { edge } of [here, there]) {
      await vi.waitFor(() => expect(told(edge, "orderStatus 1")).toHaveLength(2), WAIT);
    }
  }

  const grant = (userId: string, channel = busy): Promise<void> =>
    there.fanout.participations.grant({ channel, userId, relation: "owner", ...FOR_EVER });
  const publish = (channel = busy): Promise<unknown> =>
    there.fanout.publisher.publish({ channel, event: eventOf(status("any")) });
  const told = (edge: FakeEdge, word: string): readonly string[] =>
    edge.heard(1).filter((heard) => heard === word);
  /** Not the answers to `subscribe`: those that came unasked. */
  const losses = (edge: FakeEdge): string[] =>
    edge.framesOf(1).flatMap(({ replyTo, body }) => {
      const isLoss = replyTo === 0 && body?.$case === "subscribed" && body.value.channel.startsWith("order:");
      return isLoss && !body.value.recovered ? [body.value.channel] : [];
    });
  /** So many more rounds of the sweep of each have asked for positions. */
  async function sweeps(count: number): Promise<void> {
    for (const { broker } of [here, there]) {
      const asked = (): number => broker.calls.filter((call) => call === "positions").length;
      const before = asked();
      await vi.waitFor(() => expect(asked()).toBeGreaterThanOrEqual(before + count), WAIT);
    }
  }

  it("the last message of a channel, lost on its way to one, is delivered by the sweep", async () => {
    let dropped = 0;
    here.broker.way = (message) => (message.type === "durable" && dropped++ === 0 ? [] : [message]);
    await publish();
    await vi.waitFor(() => expect(told(there.edge, "orderStatus 2")).toHaveLength(1), WAIT);
    await vi.waitFor(() => expect(told(here.edge, "orderStatus 2")).toHaveLength(1), WAIT);
    expect(dropped).toBe(1);
    expect(losses(here.edge)).toEqual([]);
  });

  it("a part that ended, of which no signal came, ends its subscription by the sweep", async () => {
    here.broker.way = (message) => (message.type === "signal" ? [] : [message]);
    await there.fanout.participations.end(busy, "u1");
    await vi.waitFor(() => expect(here.edge.heard(1)).toContain("unsubscribed order:42"), WAIT);
  });

  it("are told once each that Redis was emptied, quiet channels too, and go on", async () => {
    await here.connection.run((client) => client.flushall());
    for (const { edge } of [here, there]) {
      await vi.waitFor(() => expect(losses(edge).sort()).toEqual(["order:42", "order:43"]), WAIT);
    }
    await publish();
    for (const { edge } of [here, there]) {
      await vi.waitFor(() => expect(edge.heard(1).at(-1)).toBe("orderStatus 1"), WAIT);
    }
    await sweeps(3);
    for (const { edge } of [here, there]) {
      expect(losses(edge)).toHaveLength(2);
      expect(told(edge, "orderStatus 1")).toHaveLength(3);
      expect(edge.heard(1).filter((word) => word.startsWith("unsubscribed"))).toEqual([]);
    }
    expect(here.fanout.counters.partitionsLost).toBe(128);
    // Sessions are findable again.
    await vi.waitFor(async () => {
      const registry = new RedisSessionRegistry({ connection: there.connection });
      expect(await registry.ofUser("default", "u1")).toHaveLength(1);
    }, WAIT);
  });

  it("are told once also where an event of the new history came before the sweep", async () => {
    await here.connection.run((client) => client.flushall());
    await publish();
    for (const { edge } of [here, there]) {
      await vi.waitFor(() => expect(losses(edge).sort()).toEqual(["order:42", "order:43"]), WAIT);
    }
    await sweeps(3);
    for (const { edge } of [here, there]) {
      expect(losses(edge)).toHaveLength(2);
      expect(told(edge, "orderStatus 1")).toHaveLength(3);
    }
  });

  it("answer unavailable to those who subscribe after a loss, until their part is granted again", async () => {
    await here.connection.run((client) => client.flushall());
    here.edge.open(2, { userId: "u3" });
    here.edge.open(3, { userId: "boss", role: "admin" });
    here.edge.subscribe(2, "order:42");
    here.edge.subscribe(3, "order:42");
    await vi.waitFor(() => expect(here.edge.heard(2).at(-1)).toMatch(/^error/), WAIT);
    expect(here.edge.framesOf(2).at(-1)?.body).toMatchObject({
      $case: "error",
      value: { code: ErrorCode.ERROR_CODE_UNAVAILABLE },
    });
    await vi.waitFor(() => expect(here.edge.heard(3)).toContain("subscribed order:42"), WAIT);
    await grant("u3");
    here.edge.subscribe(2, "order:42");
    await vi.waitFor(() => expect(here.edge.heard(2)).toContain("subscribed order:42"), WAIT);
    // Whose part has ended meanwhile is not kept.
    await there.fanout.participations.end(busy, "u1");
    await vi.waitFor(() => expect(here.edge.heard(1)).toContain("unsubscribed order:42"), WAIT);
    expect(there.edge.heard(1)).not.toContain("unsubscribed order:42");
  });

  it("keep live followers through the window, and then those only who were granted again", async () => {
    await tearDown();
    await setUp(1_500);
    await here.connection.run((client) => client.flushall());
    await vi.waitFor(() => expect(losses(here.edge)).toHaveLength(2), WAIT);
    await grant("u1");
    await sweeps(2);
    expect(there.edge.heard(1)).not.toContain("unsubscribed order:42");
    await vi.waitFor(() => {
      expect(there.edge.heard(1)).toEqual(
        expect.arrayContaining(["unsubscribed order:42", "unsubscribed order:43"]),
      );
      expect(here.edge.heard(1)).toContain("unsubscribed order:43");
    }, WAIT);
    await sweeps(2);
    expect(here.edge.heard(1)).not.toContain("unsubscribed order:42");
  });
});
