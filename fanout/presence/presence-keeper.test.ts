import { beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { Publisher } from "#fanout/channel/publisher.js";
import { FanoutCounters } from "#fanout/fanout-counters.js";
import { SystemClock } from "#fanout/store-clock.js";
import { PresenceAnnouncer } from "./presence-announcer.js";
import { PresenceCounters } from "./presence-counters.js";
import { PresenceKeeper, type PresentSession } from "./presence-keeper.js";
import { MemoryPresenceStore } from "./presence-store-memory.js";
import type { Announcement, MemberConnection, PlacedConnection } from "./presence-store.js";

/** Away when the test says so, and slow where it holds it. */
class FaultyStore extends MemoryPresenceStore {
  isAway = false;
  /** Of these users alone it is away. */
  readonly awayFor = new Set<string>();
  hold: Promise<void> | undefined;
  readonly renewed: (readonly string[])[] = [];

  override async connect(connection: PlacedConnection): Promise<readonly Announcement[]> {
    await this.#reach();
    if (this.awayFor.has(connection.userId)) throw new GatewayError("unavailable", "away");
    return super.connect(connection);
  }

  override async disconnect(connection: PlacedConnection, graceMs: number): Promise<readonly Announcement[]> {
    await this.#reach();
    return super.disconnect(connection, graceMs);
  }

  override async join(member: MemberConnection): Promise<readonly Announcement[]> {
    await this.#reach();
    return super.join(member);
  }

  override async renew(places: readonly string[]): Promise<void> {
    await this.#reach();
    this.renewed.push([...places]);
    await super.renew(places);
  }

  async #reach(): Promise<void> {
    await this.hold;
    if (this.isAway) throw new GatewayError("unavailable", "away");
  }
}

const group = channelOf("app", "group", "g1");

let store: FaultyStore;
let keeper: PresenceKeeper;
let counters: FanoutCounters;

beforeEach(() => {
  store = new FaultyStore();
  counters = new FanoutCounters();
  const presenceCounters = new PresenceCounters();
  const publisher = new Publisher({
    broker: new MemoryBroker(),
    clock: new SystemClock(),
    deliverLocally: () => undefined,
  });
  const announcer = new PresenceAnnouncer({ store, publisher, presenceCounters, counters });
  keeper = new PresenceKeeper({ store, announcer, presenceCounters, counters, graceMs: 0 });
});

function session(
  connectionId: string,
  more: Partial<PresentSession> = {},
  ...channels: Channel[]
): PresentSession {
  return {
    connectionId,
    sessionId: `session of ${connectionId}`,
    principal: { app: "app", userId: "u1" },
    capability: "customer",
    link: LINK,
    record: { generation: 1 },
    follows: new Map(channels.map((channel) => [channel.key, { channel }])),
    ...more,
  };
}

const LINK = {};
const isOnline = async (): Promise<boolean | undefined> =>
  (await store.presences("app", ["u1"]))[0]?.isOnline;
const members = async (): Promise<readonly string[]> => (await store.members(group, "", 10)).userIds;
const settled = (): Promise<void> => vi.waitFor(() => expect(keeper.owed).toBe(0));

describe("presence of sessions", () => {
  it("follows them from their registration to their socket's end, in their channels too", async () => {
    const one = session("c1", {}, group);
    keeper.registered(one);
    keeper.followingOf(one)(group, true);
    await settled();
    expect([await isOnline(), await members()]).toEqual([true, ["u1"]]);
    keeper.gone(one, [group]);
    await settled();
    expect([await isOnline(), await members()]).toEqual([false, []]);
  });

  it("is written when the store is back, the newest wish only", async () => {
    const one = session("c1", {}, group);
    store.isAway = true;
    keeper.registered(one);
    keeper.followingOf(one)(group, true);
    await vi.waitFor(() => expect(counters.storeFailures).toBeGreaterThanOrEqual(2));
    await keeper.tick();
    expect(keeper.owed).toBe(2);
    keeper.followingOf(one)(group, false);
    store.isAway = false;
    await keeper.tick();
    expect([await isOnline(), await members(), keeper.owed]).toEqual([true, [], 0]);
  });

  it("is written in order, also where the store is slow", async () => {
    let release = (): void => undefined;
    store.hold = new Promise((resolve) => (release = resolve));
    const one = session("c1");
    keeper.registered(one);
    keeper.gone(one, []);
    keeper.registered(one);
    keeper.gone(one, []);
    release();
    await settled();
    expect(await isOnline()).toBe(false);
  });

  it("is left to the next home where a session moves, also what is not written yet", async () => {
    store.isAway = true;
    const one = session("c1", {}, group);
    keeper.registered(one);
    keeper.followingOf(one)(group, true);
    keeper.moved(one);
    await vi.waitFor(() => expect(counters.storeFailures).toBeGreaterThanOrEqual(2));
    store.isAway = false;
    await keeper.tick();
    expect([await isOnline(), await members(), keeper.owed]).toEqual([false, [], 0]);
  });

  it("is written again for all who live, after the store lost it", async () => {
    const one = session("c1", {}, group, channelOf("app", "user", "u1"));
    keeper.refresh([one, session("c2", { record: undefined })]);
    expect(keeper.owed).toBe(2);
    await keeper.tick();
    expect([await isOnline(), await members(), keeper.owed]).toEqual([true, ["u1"], 0]);
  });

  it("is written also where others, as many as a tick writes, have their part of the store away", async () => {
    const others = Array.from({ length: 500 }, (_, index) => {
      const userId = `away-${index}`;
      store.awayFor.add(userId);
      return session(userId, { principal: { app: "app", userId } });
    });
    keeper.refresh([...others, session("c1")]);
    await keeper.tick();
    await keeper.tick();
    expect([await isOnline(), keeper.owed]).toEqual([true, 500]);
  });

  it("is not that of who has no account, nor of who is not registered", async () => {
    for (const nobody of [session("c1", { capability: "anonymous" }), session("c2", { record: undefined })]) {
      keeper.registered(nobody);
      keeper.followingOf(nobody)(group, true);
      keeper.gone(nobody, [group]);
    }
    expect(keeper.owed).toBe(0);
    expect(await isOnline()).toBe(false);
  });

  it("stands under one place for each link, renewed until the link ends", async () => {
    const other = {};
    keeper.registered(session("c1"));
    keeper.registered(session("c2"));
    keeper.registered(session("c3", { link: other }));
    await settled();
    await keeper.renew();
    expect(new Set(store.renewed.at(-1)).size).toBe(2);
    keeper.linkEnded(LINK);
    await keeper.renew();
    expect(store.renewed.at(-1)).toHaveLength(1);
    // What ends later than its link makes nobody live.
    keeper.gone(session("c1"), []);
    keeper.linkEnded(other);
    await settled();
    await keeper.renew();
    expect(store.renewed.at(-1)).toEqual([]);
  });
});
