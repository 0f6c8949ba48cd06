/** What every presence store promises of the members of channels, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import type { Announcement, MemberConnection, PresenceStore } from "./presence-store.js";
import type { MakePresenceStore, PresenceStoreHarness } from "./presence-store.contract.js";

const LONG_MS = 60_000;
const SHORT_MS = 20;
const MAX_TOLD = 5;

export function describeChannelMembers(name: string, makeHarness: MakePresenceStore): void {
  describe(`${name}: members`, () => {
    let harness: PresenceStoreHarness;
    let store: PresenceStore;
    let app: string;
    let place: string;
    let group: Channel;

    beforeEach(async () => {
      harness = await makeHarness({ announceWithinMs: SHORT_MS, maxToldMembers: MAX_TOLD });
      store = harness.store;
      app = `app-${randomUUID()}`;
      place = randomUUID();
      group = channelOf(app, "group", "g1");
    });
    afterEach(() => harness.close());

    const member = (
      userId: string,
      connectionId: string,
      more: Partial<MemberConnection> = {},
    ): MemberConnection => ({
      app,
      channel: group,
      userId,
      connectionId,
      sessionId: `session of ${connectionId}`,
      generation: 5,
      place,
      ...more,
    });
    const said = (announcements: readonly Announcement[]): readonly string[] =>
      announcements.map((each) => {
        if (each.type !== "membership") throw new Error("not about members");
        return `${each.userId} ${each.connectionId} ${each.hasJoined ? "joined" : "left"}`;
      });
    const join = async (...args: Parameters<typeof member>) => {
      const announcements = await store.join(member(...args));
      for (const announcement of announcements) await store.announced(announcement);
      return said(announcements);
    };
    const leave = async (graceMs: number, ...args: Parameters<typeof member>) =>
      said(await store.leave(member(...args), graceMs));
    const list = async (after = "", limit = 100) => (await store.members(group, after, limit)).userIds;
    const dueHere = async () => (await store.due()).filter(({ text }) => text.includes(app));
    const settleNext = async (): Promise<readonly string[]> => {
      const [subject] = await vi.waitFor(async () => {
        const found = await dueHere();
        expect(found).toHaveLength(1);
        return found;
      });
      if (subject === undefined) throw new Error("nothing is due");
      return said(await store.settle(subject));
    };

    it("tells who joined and who left, each connection once, and lists each user once", async () => {
      expect(await join("u1", "c1")).toEqual(["u1 c1 joined"]);
      expect(await join("u1", "c1")).toEqual([]);
      expect(await join("u1", "c2")).toEqual(["u1 c2 joined"]);
      expect(await join("u2", "c3")).toEqual(["u2 c3 joined"]);
      expect(await store.members(group, "", 10)).toEqual({ userIds: ["u1", "u2"], total: 2 });
      expect(await leave(0, "u1", "c1")).toEqual(["u1 c1 left"]);
      expect(await list()).toEqual(["u1", "u2"]);
      expect(await leave(0, "u1", "c2")).toEqual(["u1 c2 left"]);
      expect(await leave(0, "u1", "c2")).toEqual([]);
      expect(await list()).toEqual(["u2"]);
    });

    it("hears nothing of a user who comes back within the grace, and knows them by their first connection", async () => {
      await join("u1", "c1");
      expect(await leave(LONG_MS, "u1", "c1")).toEqual([]);
      expect(await list()).toEqual(["u1"]);
      expect(await join("u1", "c2")).toEqual([]);
      expect(await dueHere()).toEqual([]);
      expect(await leave(0, "u1", "c2")).toEqual(["u1 c1 left"]);
    });

    it("tells that they left when the grace is over, to one of all who ask", async () => {
      await join("u1", "c1");
      await leave(SHORT_MS, "u1", "c1");
      const [subject] = await vi.waitFor(async () => {
        const found = await dueHere();
        expect(found).toHaveLength(1);
        return found;
      });
      if (subject === undefined) throw new Error("nothing is due");
      const answers = await Promise.all(Array.from({ length: 5 }, () => store.settle(subject)));
      expect(answers.flatMap(said)).toEqual(["u1 c1 left"]);
      expect(await list()).toEqual([]);
      expect(await join("u1", "c2")).toEqual(["u1 c2 joined"]);
    });

    it("lets a session's next connection take the place of one that nobody knows to be gone", async () => {
      const sessionId = "s1";
      await join("u1", "c1", { sessionId });
      expect(await join("u1", "c2", { sessionId, generation: 6 })).toEqual([]);
      expect(await leave(0, "u1", "c1", { sessionId })).toEqual([]);
      // Its old home writes it again, late.
      expect(await join("u1", "c1", { sessionId })).toEqual([]);
      expect(await store.held(place)).toHaveLength(1);
      expect(await leave(0, "u1", "c2", { sessionId, generation: 6 })).toEqual(["u1 c1 left"]);
      expect(await store.held(place)).toEqual([]);
    });

    it("says nothing when a connection moves to another home, and is not changed by the older one", async () => {
      await join("u1", "c1");
      const next = randomUUID();
      expect(await join("u1", "c1", { generation: 6, place: next })).toEqual([]);
      expect(await leave(0, "u1", "c1")).toEqual([]);
      expect(await list()).toEqual(["u1"]);
      expect(await store.held(place)).toEqual([]);
      expect(await store.held(next)).toHaveLength(1);
    });

    it("drops what a place held that is gone, once, and nothing that has moved on", async () => {
      await join("u1", "c1");
      await join("u2", "c2");
      const held = await store.held(place);
      await join("u2", "c2", { generation: 6, place: randomUUID() });
      const answers = await Promise.all([...held, ...held].map((each) => store.drop(each, 1)));
      expect(answers.flatMap(said)).toEqual(["u1 c1 left"]);
      expect(await list()).toEqual(["u2"]);
      expect(await store.held(place)).toEqual([]);
    });

    it("gives what nobody has confirmed again, joined before left", async () => {
      await store.join(member("u1", "c1"));
      expect(await settleNext()).toEqual(["u1 c1 joined"]);
      expect(await leave(0, "u1", "c1")).toEqual(["u1 c1 joined", "u1 c1 left"]);
      expect(await settleNext()).toEqual(["u1 c1 joined", "u1 c1 left"]);
    });

    it("counts many and tells nothing of them", async () => {
      const users = Array.from({ length: MAX_TOLD + 3 }, (_, index) => `u${index}`);
      const told: string[] = [];
      for (const userId of users) told.push(...(await join(userId, `c of ${userId}`)));
      expect(told).toHaveLength(MAX_TOLD);
      expect(await store.members(group, "", 1)).toEqual({ userIds: ["u0"], total: users.length });
      expect(await leave(0, "u0", "c of u0")).toEqual([]);
      expect((await store.members(group, "", 1)).total).toBe(users.length - 1);
      for (const userId of ["u1", "u2"]) expect(await leave(0, userId, `c of ${userId}`)).toEqual([]);
      expect(await leave(0, "u3", "c of u3")).toEqual(["u3 c of u3 left"]);
    });

    it("tells nothing in kinds whose members are only listed", async () => {
      const channel = channelOf(app, "order", "42");
      expect(await join("u1", "c1", { channel })).toEqual([]);
      expect(await store.members(channel, "", 10)).toEqual({ userIds: ["u1"], total: 1 });
      expect(await leave(0, "u1", "c1", { channel })).toEqual([]);
      expect(await store.members(channel, "", 10)).toEqual({ userIds: [], total: 0 });
    });

    it("lists members in pages, each once, whatever their ids are", async () => {
      const users = ["a:b", "{x}", "*", "é", "(", "[", "-", "+", "z z", 'say "hi"', "a\nb"];
      for (const userId of users) await join(userId, `c of ${userId}`);
      const seen: string[] = [];
      for (let page = await list("", 2); page.length > 0; page = await list(page.at(-1) ?? "", 2)) {
        expect(page.length).toBeLessThanOrEqual(2);
        seen.push(...page);
      }
      expect(seen).toHaveLength(users.length);
      expect(new Set(seen)).toEqual(new Set(users));
    });

    it("lists everybody who stays once, while others come and go between the pages", async () => {
      const stay = ["b", "d", "f", "h"];
      for (const userId of [...stay, "c"]) await join(userId, `c of ${userId}`);
      const first = await list("", 2);
      expect(first).toEqual(["b", "c"]);
      // Also the one at whom the next page begins.
      await leave(0, "c", "c of c");
      for (const userId of ["a", "e"]) await join(userId, `c of ${userId}`);
      const second = await list("c", 2);
      await leave(0, "e", "c of e");
      expect([...first, ...second, ...(await list("e", 9))]).toEqual(["b", "c", "d", "e", "f", "h"]);
      expect(await store.members(group, "z", 2)).toEqual({ userIds: [], total: 5 });
    });

    it("comes to one truth when connections come and go at once", async () => {
      const ids = Array.from({ length: 10 }, (_, index) => `c${index}`);
      await Promise.all(ids.map((id) => store.join(member("u1", id))));
      expect(await list()).toEqual(["u1"]);
      await Promise.all(ids.map((id) => store.leave(member("u1", id), 0)));
      expect(await list()).toEqual([]);
      expect(await store.held(place)).toEqual([]);
    });
  });
}
