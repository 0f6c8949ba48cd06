import { beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import { channelOf } from "#fanout/channel/channel.js";
import { Publisher } from "#fanout/channel/publisher.js";
import { FanoutCounters } from "#fanout/fanout-counters.js";
import { PresenceAnnouncer } from "./presence-announcer.js";
import { PresenceCounters } from "./presence-counters.js";
import { LAPSED_FOR_MS, PLACE_LEASE_MS, PresenceReaper } from "./presence-reaper.js";
import { MemoryPresenceStore } from "./presence-store-memory.js";
import type { LapsedPlace } from "./presence-store.js";

class SometimesAway extends MemoryPresenceStore {
  isAway = false;

  override async lapsed(leaseMs: number): Promise<readonly LapsedPlace[]> {
    if (this.isAway) throw new GatewayError("unavailable", "away");
    return super.lapsed(leaseMs);
  }
}

let nowMs: number;
let store: SometimesAway;
let reapers: readonly { readonly reaper: PresenceReaper; readonly counters: PresenceCounters }[];

beforeEach(() => {
  nowMs = 1_790_000_000_000;
  const clock = { nowUs: () => nowMs * 1_000 };
  store = new SometimesAway({ clock });
  reapers = [1, 2].map(() => {
    const counters = new FanoutCounters();
    const presenceCounters = new PresenceCounters();
    const publisher = new Publisher({ broker: new MemoryBroker(), clock, deliverLocally: () => undefined });
    const announcer = new PresenceAnnouncer({ store, publisher, presenceCounters, counters });
    const reaper = new PresenceReaper({ store, announcer, presenceCounters, counters, nowMs: () => nowMs });
    return { reaper, counters: presenceCounters };
  });
});

const connection = (connectionId: string, place: string) => ({
  app: "app",
  userId: connectionId,
  connectionId,
  generation: 1,
  place,
});
const group = channelOf("app", "group", "g1");

async function settleAll(): Promise<void> {
  await Promise.all(reapers.map(({ reaper }) => reaper.settleDue()));
}

async function dropAll(): Promise<void> {
  await Promise.all(reapers.map(({ reaper }) => reaper.dropLapsed()));
}

const announced = (what: keyof PresenceCounters["announced"]): number =>
  reapers.reduce((sum, { counters }) => sum + counters.announced[what], 0);
const isOnline = async (userId: string) => (await store.presences("app", [userId]))[0]?.isOnline;

describe("what a killed edge leaves", () => {
  beforeEach(async () => {
    await store.renew(["dead", "alive"]);
    for (let index = 0; index < 250; index++) await store.connect(connection(`u${index}`, "dead"));
    await store.connect(connection("living", "alive"));
    await store.join({ ...connection("u1", "dead"), channel: group, sessionId: "s1" });
  });

  it("is gone within 60 s of its last renewal, each announced by one of all who look", async () => {
    for (let second = 0; second < 60; second += 5) {
      nowMs += 5_000;
      await store.renew(["alive"]);
      await dropAll();
    }
    expect(await store.countOnline("app")).toBe(1);
    expect(announced("offline")).toBe(250);
    expect(announced("left")).toBe(1);
    expect((await store.members(group, "", 10)).total).toBe(0);
    expect(await isOnline("living")).toBe(true);
    expect((await store.presences("app", ["u1"]))[0]?.lastSeenMs).toBe(1_790_000_000_000);
    expect(await store.lapsed(0)).toMatchObject([{ place: "alive" }]);
  });

  it("is gone in one look, however many were in one room", async () => {
    for (let index = 0; index < 2_500; index++) await store.connect(connection(`more${index}`, "dead"));
    nowMs += PLACE_LEASE_MS;
    await dropAll();
    nowMs += LAPSED_FOR_MS;
    await store.renew(["alive"]);
    await dropAll();
    expect(await store.countOnline("app")).toBe(1);
  });

  it("is left where its home lives on and was only kept from renewing by the store", async () => {
    nowMs += PLACE_LEASE_MS + 60_000;
    await dropAll();
    await store.renew(["dead", "alive"]);
    nowMs += LAPSED_FOR_MS;
    await dropAll();
    expect(await store.countOnline("app")).toBe(251);
  });

  it("is left until it has been seen for a while without a failure", async () => {
    nowMs += PLACE_LEASE_MS;
    await dropAll();
    nowMs += LAPSED_FOR_MS - 1;
    store.isAway = true;
    await dropAll();
    store.isAway = false;
    nowMs += 1;
    await dropAll();
    nowMs += LAPSED_FOR_MS - 1;
    await dropAll();
    expect(await isOnline("u1")).toBe(true);
    nowMs += 1;
    await dropAll();
    expect(await isOnline("u1")).toBe(false);
  });

  it("is not dropped of a session that has another home by then", async () => {
    await store.connect({ ...connection("u7", "alive"), generation: 2 });
    for (let second = 0; second < 60; second += 5) {
      nowMs += 5_000;
      await store.renew(["alive"]);
      await dropAll();
    }
    expect(await isOnline("u7")).toBe(true);
    expect(announced("offline")).toBe(249);
  });
});

describe("what is due", () => {
  it("is done in one look, however many left the same room", async () => {
    const room = Array.from({ length: 1_000 }, (_, index) => connection(`u${index}`, "p"));
    for (const each of room) await store.join({ ...each, channel: group, sessionId: each.connectionId });
    for (const each of room) await store.leave({ ...each, channel: group }, 15_000);
    nowMs += 15_000;
    await settleAll();
    expect((await store.members(group, "", 10)).total).toBe(0);
  });

  it("is done and announced by one of all who look", async () => {
    await store.connect(connection("u1", "p"));
    await store.disconnect(connection("u1", "p"), 15_000);
    nowMs += 14_999;
    await settleAll();
    expect(announced("offline")).toBe(0);
    nowMs += 1;
    await settleAll();
    expect(announced("offline")).toBe(1);
    nowMs += 60_000;
    await settleAll();
    expect(announced("offline")).toBe(1);
  });
});
