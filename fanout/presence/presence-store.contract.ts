/** What every presence store promises of users, places and what is due, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { PresenceStoreOptions } from "./presence-limits.js";
import type { Announcement, PlacedConnection, PresenceStore, UserPresence } from "./presence-store.js";

export interface PresenceStoreHarness {
  readonly store: PresenceStore;
  close(): Promise<void>;
}

export type MakePresenceStore = (options: Partial<PresenceStoreOptions>) => Promise<PresenceStoreHarness>;

const LONG_MS = 60_000;
const SHORT_MS = 20;

export function describePresenceStore(name: string, makeHarness: MakePresenceStore): void {
  describe(`${name}: users`, () => {
    let harness: PresenceStoreHarness;
    let store: PresenceStore;
    let app: string;
    let place: string;

    beforeEach(async () => {
      harness = await makeHarness({ announceWithinMs: SHORT_MS });
      store = harness.store;
      app = `app-${randomUUID()}`;
      place = randomUUID();
    });
    afterEach(() => harness.close());

    const connection = (connectionId: string, more: Partial<PlacedConnection> = {}): PlacedConnection => ({
      app,
      userId: "u1",
      connectionId,
      generation: 5,
      place,
      ...more,
    });
    const now = async (userId = "u1"): Promise<UserPresence> => {
      const [presence] = await store.presences(app, [userId]);
      if (presence === undefined) throw new Error("nothing was answered");
      return presence;
    };
    const dueHere = async () => (await store.due()).filter(({ text }) => text.includes(app));
    /** Waits until something of this test is due, and does it. */
    const settleNext = async (): Promise<readonly Announcement[]> => {
      const [subject] = await vi.waitFor(async () => {
        const found = await dueHere();
        expect(found).toHaveLength(1);
        return found;
      });
      if (subject === undefined) throw new Error("nothing is due");
      return store.settle(subject);
    };
    const announcing = (isOnline: boolean, value: Partial<UserPresence>): readonly unknown[] => {
      const presence: unknown = expect.objectContaining({ userId: "u1", isOnline, ...value });
      return [{ type: "presence", app, presence }];
    };
    const online = (value: Partial<UserPresence> = {}) => announcing(true, value);
    const offline = (value: Partial<UserPresence> = {}) => announcing(false, value);

    it("announces a user once over many connections, and again when the last is gone", async () => {
      const before = Date.now();
      expect(await store.connect(connection("c1"))).toEqual(online({ lastSeenMs: 0 }));
      expect(await store.connect(connection("c2"))).toEqual([]);
      expect(await now()).toMatchObject({ userId: "u1", isOnline: true, lastSeenMs: 0 });
      expect(await store.countOnline(app)).toBe(1);
      expect(await store.disconnect(connection("c1"), 0)).toEqual([]);
      expect(await store.disconnect(connection("c2"), 0)).toEqual(offline());
      const after = await now();
      expect(after.isOnline).toBe(false);
      expect(after.lastSeenMs).toBeGreaterThanOrEqual(before - 1_000);
      expect(after.lastSeenMs).toBeLessThanOrEqual(Date.now() + 1_000);
      expect(await store.countOnline(app)).toBe(0);
    });

    it("knows nothing of who was never there", async () => {
      expect(await now("nobody")).toEqual({ userId: "nobody", isOnline: false, lastSeenMs: 0, version: 0 });
      expect(await store.presences(app, [])).toEqual([]);
      expect(await store.disconnect(connection("c1"), 0)).toEqual([]);
      expect(await store.countOnline(app)).toBe(0);
    });

    it("gives each change a greater version", async () => {
      const versions: number[] = [];
      for (let round = 0; round < 5; round++) {
        await store.connect(connection("c1"));
        versions.push((await now()).version);
        await store.disconnect(connection("c1"), 0);
        versions.push((await now()).version);
      }
      expect(versions).toEqual([...new Set(versions)].sort((left, right) => left - right));
    });

    it("does not hear of a user who comes back within the grace", async () => {
      await confirm(await store.connect(connection("c1")));
      expect(await store.disconnect(connection("c1"), LONG_MS)).toEqual([]);
      expect(await now()).toMatchObject({ isOnline: true, lastSeenMs: 0 });
      expect(await store.connect(connection("c2"))).toEqual([]);
      expect(await now()).toMatchObject({ isOnline: true });
      expect(await store.countOnline(app)).toBe(1);
      expect(await dueHere()).toEqual([]);
    });

    it("announces offline when the grace is over, with when the user was last there, to one of all who ask", async () => {
      await confirm(await store.connect(connection("c1")));
      await store.disconnect(connection("c1"), SHORT_MS);
      const goneMs = Date.now();
      const [subject] = await vi.waitFor(async () => {
        const found = await dueHere();
        expect(found).toHaveLength(1);
        return found;
      });
      if (subject === undefined) throw new Error("nothing is due");
      const answers = await Promise.all(Array.from({ length: 5 }, () => store.settle(subject)));
      expect(answers.filter((answer) => answer.length > 0)).toEqual([offline()]);
      expect(Math.abs((await now()).lastSeenMs - goneMs)).toBeLessThan(5_000);
      expect(await store.countOnline(app)).toBe(0);
    });

    it("gives an announcement again until it is confirmed", async () => {
      const first = await store.connect(connection("c1"));
      const again = await settleNext();
      expect(again).toEqual(first);
      expect(await settleNext()).toEqual(first);
      await confirm(again);
      await store.connect(connection("c2", { userId: "u2" }));
      await settleNext();
      expect((await dueHere()).filter(({ text }) => text.includes("u1"))).toEqual([]);
    });

    it("takes the confirmation of an older change for none", async () => {
      const first = await store.connect(connection("c1"));
      await store.disconnect(connection("c1"), 0);
      await confirm(first);
      expect(await settleNext()).toEqual(offline());
    });

    it("is not changed by an older home", async () => {
      await store.connect(connection("c1", { generation: 7 }));
      expect(await store.disconnect(connection("c1", { generation: 6 }), 0)).toEqual([]);
      expect(await now()).toMatchObject({ isOnline: true });
      // The newer home has removed it, and an older one's write comes late to a connection that lives on.
      await store.connect(connection("c1", { generation: 6, place: "an-older-place" }));
      expect(await store.held("an-older-place")).toEqual([]);
    });

    it("says nothing of a connection that moves to another home", async () => {
      await confirm(await store.connect(connection("c1")));
      const next = randomUUID();
      expect(await store.connect(connection("c1", { generation: 6, place: next }))).toEqual([]);
      expect(await store.held(place)).toEqual([]);
      expect(await store.held(next)).toEqual([expect.objectContaining({ generation: 6 })]);
      expect(await dueHere()).toEqual([]);
    });

    it("drops what a place held that is gone: once, and nothing that has moved on", async () => {
      await confirm(await store.connect(connection("c1")));
      await store.connect(connection("c2", { userId: "u2" }));
      const held = await store.held(place);
      expect(held).toHaveLength(2);
      const next = randomUUID();
      await store.connect(connection("c2", { userId: "u2", generation: 9, place: next }));
      const seenMs = 1_790_000_000_000;
      const answers = await Promise.all(
        [...held, ...held, ...held].map((connectionOfPlace) => store.drop(connectionOfPlace, seenMs)),
      );
      expect(answers.filter((answer) => answer.length > 0)).toEqual([offline({ lastSeenMs: seenMs })]);
      expect(await now("u2")).toMatchObject({ isOnline: true });
      expect(await store.held(place)).toEqual([]);
      expect(await store.held(next)).toHaveLength(1);
    });

    it("does not drop a connection whose home has written again since", async () => {
      await store.connect(connection("c1"));
      const [held] = await store.held(place);
      if (held === undefined) throw new Error("nothing is held");
      await store.connect(connection("c1", { generation: 8 }));
      expect(await store.drop(held, 1)).toEqual([]);
      expect(await now()).toMatchObject({ isOnline: true });
      expect(await store.held(place)).toHaveLength(1);
    });

    it("knows the device that was last there, also where another's end is found out later", async () => {
      const ghostSeenMs = Date.now() - 60_000;
      await store.connect(connection("ghost", { place: "dead" + place }));
      await store.connect(connection("phone"));
      const [ghost] = await store.held("dead" + place);
      if (ghost === undefined) throw new Error("nothing is held");
      const goneMs = Date.now();
      expect(await store.disconnect(connection("phone"), 0)).toEqual([]);
      expect(await store.drop(ghost, ghostSeenMs)).toEqual(offline());
      expect(Math.abs((await now()).lastSeenMs - goneMs)).toBeLessThan(1_000);
    });

    it("leaves who lost a connection the rest of the grace, also where what an edge left is dropped in it", async () => {
      await confirm(await store.connect(connection("ghost", { place: "dead" + place })));
      await store.connect(connection("phone"));
      const [ghost] = await store.held("dead" + place);
      if (ghost === undefined) throw new Error("nothing is held");
      await store.disconnect(connection("phone"), LONG_MS);
      expect(await store.drop(ghost, Date.now())).toEqual([]);
      expect(await now()).toMatchObject({ isOnline: true });
      expect(await store.connect(connection("phone again"))).toEqual([]);
      // Over by itself where nobody comes back.
      await store.connect(connection("ghost", { place: "dead" + place }));
      await store.disconnect(connection("phone again"), SHORT_MS);
      const atOnce = await store.drop(ghost, Date.now());
      expect(atOnce.length > 0 ? atOnce : await settleNext()).toEqual(offline());
    });

    it("knows which places were not renewed for a while", async () => {
      const places = async (leaseMs: number) => (await store.lapsed(leaseMs)).map((each) => each.place);
      await store.renew([place]);
      expect(await places(LONG_MS)).not.toContain(place);
      await vi.waitFor(async () => expect(await places(SHORT_MS)).toContain(place));
      const lapsed = (await store.lapsed(0)).find((each) => each.place === place);
      expect(Math.abs((lapsed?.renewedAtMs ?? 0) - Date.now())).toBeLessThan(5_000);
      await store.renew([place]);
      expect(await places(LONG_MS)).not.toContain(place);
      await store.forget(place);
      expect(await places(0)).not.toContain(place);
      await store.renew([]);
    });

    it("tells whether a worker takes offers when that changes, the last word by time, and no while offline", async () => {
      const say = (isAvailable: boolean, saidAtUs: number) =>
        store.setAvailable({ app, userId: "u1", isAvailable, saidAtUs });
      await store.connect(connection("c1"));
      expect((await now()).isAvailable).toBeUndefined();
      expect(await say(true, 10)).toEqual(online({ isAvailable: true }));
      expect(await say(true, 11)).toEqual([]);
      expect(await say(false, 9)).toEqual([]);
      expect((await now()).isAvailable).toBe(true);
      expect(await store.disconnect(connection("c1"), 0)).toEqual(offline({ isAvailable: false }));
      expect((await now()).isAvailable).toBe(false);
      expect(await store.connect(connection("c1"))).toEqual(online({ isAvailable: true }));
      expect(await say(false, 12)).toEqual(online({ isAvailable: false }));
    });

    it("takes no word for a later one than it can be, where the clock that it was told by is ahead", async () => {
      const say = (isAvailable: boolean, saidAtUs: number) =>
        store.setAvailable({ app, userId: "u1", isAvailable, saidAtUs });
      await store.connect(connection("c1"));
      await say(true, (Date.now() + 3_600_000) * 1_000);
      expect((await now()).isAvailable).toBe(true);
      // A word of another device's edge, whose clock is right.
      await vi.waitFor(async () => {
        await say(false, Date.now() * 1_000);
        expect((await now()).isAvailable).toBe(false);
      });
    });

    it("ends a grace in time also where availability changes in it", async () => {
      await store.connect(connection("c1"));
      await store.disconnect(connection("c1"), LONG_MS);
      await store.setAvailable({ app, userId: "u1", isAvailable: true, saidAtUs: 1 });
      // What nobody confirms of another user is due by then: the grace is not.
      await store.connect(connection("c2", { userId: "u2" }));
      expect(await settleNext()).toMatchObject([{ presence: { userId: "u2" } }]);
      expect(await now()).toMatchObject({ isOnline: true, isAvailable: true });
    });

    it("comes to one truth when connections come and go at once", async () => {
      const ids = Array.from({ length: 20 }, (_, index) => `c${index}`);
      const answers = await Promise.all(ids.map((id) => store.connect(connection(id))));
      expect(answers.flat()).toHaveLength(1);
      const gone = await Promise.all(ids.map((id) => store.disconnect(connection(id), 0)));
      expect(gone.flat()).toEqual(offline());
      expect(await store.countOnline(app)).toBe(0);
      expect(await store.held(place)).toEqual([]);
    });

    it("keeps apps apart, and takes any text for ids", async () => {
      for (const userId of ["a:b", "{x}", "*", "a\nb", "é", 'say "hi"', "\\"]) {
        await store.connect(connection(`connection of ${userId}`, { userId }));
        expect(await now(userId)).toMatchObject({ userId, isOnline: true });
        expect(await store.presences(`${app}x`, [userId])).toMatchObject([{ isOnline: false }]);
      }
      const held = await store.held(place);
      expect(held).toHaveLength(7);
      const dropped = await Promise.all(held.map((each) => store.drop(each, 1)));
      expect(dropped.flat()).toHaveLength(7);
    });

    async function confirm(announcements: readonly Announcement[]): Promise<void> {
      for (const announcement of announcements) await store.announced(announcement);
    }
  });
}
