/** What every directory promises, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { channelOf, userChannel, type Channel } from "#fanout/channel/channel.js";
import type { Directory, Participation, Relation } from "./directory.js";

export interface DirectoryHarness {
  readonly directory: Directory;
  close(): Promise<void>;
}

const HOUR_MS = 3_600_000;

export function describeDirectory(name: string, makeHarness: () => Promise<DirectoryHarness>): void {
  describe(name, () => {
    let harness: DirectoryHarness;
    let directory: Directory;
    let order: Channel;

    beforeEach(async () => {
      harness = await makeHarness();
      directory = harness.directory;
      order = channelOf(`app-${randomUUID()}`, "order", "42");
    });
    afterEach(() => harness.close());

    function part(userId: string, relation: Relation, more: Partial<Participation> = {}): Participation {
      return { channel: order, userId, relation, expiresAtMs: Date.now() + HOUR_MS, ...more };
    }

    it("knows a granted part from the channel and from the user", async () => {
      const owner = part("u1", "owner");
      const assigned = part("p1", "assigned");
      await directory.grant(owner);
      await directory.grant(assigned);
      expect(await directory.participation(order, "u1")).toEqual(owner);
      expect(await directory.participation(order, "u2")).toBeUndefined();
      const everyone = [...(await directory.participants(order))];
      expect(everyone.sort((left, right) => left.userId.localeCompare(right.userId))).toEqual([
        assigned,
        owner,
      ]);
      expect(await directory.participationsOf(order.app, "u1")).toEqual([owner]);
    });

    it("replaces a part with a later grant", async () => {
      await directory.grant(part("u1", "member"));
      const later = part("u1", "merchant", { expiresAtMs: Date.now() + 2 * HOUR_MS });
      await directory.grant(later);
      expect(await directory.participants(order)).toEqual([later]);
      expect(await directory.participationsOf(order.app, "u1")).toEqual([later]);
    });

    it("ends a part for both, also one that was never granted", async () => {
      await directory.grant(part("u1", "owner"));
      await directory.end(order, "u1");
      await directory.end(order, "u2");
      expect(await directory.participation(order, "u1")).toBeUndefined();
      expect(await directory.participants(order)).toEqual([]);
      expect(await directory.participationsOf(order.app, "u1")).toEqual([]);
    });

    it("says for a while whose part ended, until it is granted again", async () => {
      await directory.grant(part("u1", "owner"));
      await directory.grant(part("u2", "member"));
      await directory.end(order, "u1");
      await directory.end(order, "u3");
      expect([...(await directory.recordOf(order)).ended].sort()).toEqual(["u1", "u3"]);
      expect([...(await directory.recordOfUser(order.app, "u1")).ended]).toEqual([order.name]);
      expect([...(await directory.recordOfUser(order.app, "u2")).ended]).toEqual([]);
      await directory.grant(part("u1", "owner"));
      expect([...(await directory.recordOf(order)).ended]).toEqual(["u3"]);
      expect([...(await directory.recordOfUser(order.app, "u1")).ended]).toEqual([]);
    });

    it("grants again what had ended", async () => {
      const again = part("u1", "owner");
      await directory.grant(again);
      await directory.end(order, "u1");
      await directory.grant(again);
      expect(await directory.participants(order)).toEqual([again]);
      expect(await directory.participationsOf(order.app, "u1")).toEqual([again]);
    });

    it("does not know a part whose time is over", async () => {
      await directory.grant(part("u1", "owner"));
      await directory.grant(part("u2", "member", { expiresAtMs: Date.now() - 1_000 }));
      await directory.grant(
        part("u1", "assigned", { channel: channelOf(order.app, "ride", "1"), expiresAtMs: 1 }),
      );
      expect(await directory.participation(order, "u2")).toBeUndefined();
      expect((await directory.participants(order)).map(({ userId }) => userId)).toEqual(["u1"]);
      expect(await directory.participationsOf(order.app, "u2")).toEqual([]);
      expect(await directory.participationsOf(order.app, "u1")).toHaveLength(1);
    });

    it("keeps an hour's part beside one of a second, and one without an end", async () => {
      await directory.grant(part("u1", "owner", { expiresAtMs: Number.MAX_SAFE_INTEGER }));
      await directory.grant(part("u2", "owner", { expiresAtMs: Date.now() + 60_000 }));
      expect(await directory.participants(order)).toHaveLength(2);
      expect(await directory.participation(order, "u1")).toMatchObject({
        expiresAtMs: Number.MAX_SAFE_INTEGER,
      });
    });

    it("lists everything that a user takes part in, in that app only", async () => {
      const channels = Array.from({ length: 100 }, (_, index) => channelOf(order.app, "order", `o${index}`));
      const elsewhere = channelOf(`${order.app}x`, "order", "o1");
      await Promise.all(
        [...channels, elsewhere].map((channel) => directory.grant(part("p1", "assigned", { channel }))),
      );
      const found = await directory.participationsOf(order.app, "p1");
      expect(found.map(({ channel }) => channel.key).sort()).toEqual(channels.map(({ key }) => key).sort());
    });

    it("lists what was granted last at the end, also what was granted again", async () => {
      const channels = ["a", "b", "c"].map((id) => channelOf(order.app, "order", id));
      for (const channel of [...channels, ...channels.slice(0, 1)]) {
        await directory.grant(part("p1", "assigned", { channel }));
      }
      const found = await directory.participationsOf(order.app, "p1");
      expect(found.map(({ channel }) => channel.id)).toEqual(["b", "c", "a"]);
    });

    it("comes to one answer for both sides when grants and ends race", async () => {
      for (let round = 0; round < 20; round++) {
        const userId = `u${round}`;
        await Promise.all([
          directory.grant(part(userId, "owner")),
          directory.end(order, userId),
          directory.grant(part(userId, "member")),
          directory.end(order, userId),
        ]);
        const fromChannel = await directory.participation(order, userId);
        const fromUser = await directory.participationsOf(order.app, userId);
        expect(fromUser).toEqual(fromChannel ? [fromChannel] : []);
      }
    });

    it("gives the channel and the user another version with each change, and no other", async () => {
      const channels = [order, userChannel(order.app, "u1"), channelOf(order.app, "order", "43")];
      const seen = [await directory.versions(channels)];
      const change = async (write: Promise<void>): Promise<void> => {
        await write;
        seen.push(await directory.versions(channels));
      };
      await change(directory.grant(part("u1", "owner")));
      await change(directory.grant(part("u1", "member")));
      await change(directory.end(order, "u1"));
      await change(directory.end(order, "u1"));
      for (const index of [0, 1]) expect(new Set(seen.map((versions) => versions[index])).size).toBe(5);
      expect(new Set(seen.map((versions) => versions[2]))).toEqual(new Set([0]));
      expect((await directory.recordOf(order)).version).toBe(seen.at(-1)?.[0]);
      expect((await directory.recordOfUser(order.app, "u1")).version).toBe(seen.at(-1)?.[1]);
      expect(await directory.versions([])).toEqual([]);
    });

    it("is complete, and says all that it knows in one record", async () => {
      await directory.grant(part("u1", "owner"));
      expect(await directory.recordOf(order)).toMatchObject({ parts: [{ userId: "u1" }], isComplete: true });
      expect(await directory.recordOfUser(order.app, "u1")).toMatchObject({
        parts: [{ relation: "owner" }],
        isComplete: true,
      });
      expect(await directory.recordOf(channelOf(order.app, "order", "nobody's"))).toMatchObject({
        parts: [],
        isComplete: true,
        version: 0,
      });
    });

    it("takes any text for a user's id", async () => {
      for (const userId of ["a:b", "{x}", "*", "-", "a\nb", "é", "x".repeat(1_000)]) {
        const granted = part(userId, "owner");
        await directory.grant(granted);
        expect(await directory.participation(order, userId)).toEqual(granted);
        expect(await directory.participationsOf(order.app, userId)).toEqual([granted]);
      }
    });
  });
}
