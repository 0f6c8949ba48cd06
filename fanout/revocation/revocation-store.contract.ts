/** What every revocation store promises, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Revocation } from "./revocation.js";
import type { RevocationStore } from "./revocation-store.js";

export interface RevocationStoreHarness {
  readonly store: RevocationStore;
  /** The same one, as another fanout has it. */
  readonly elsewhere: RevocationStore;
  /** Forgets everything, as a store does that was emptied. */
  empty(): Promise<void>;
  close(): Promise<void>;
}

/** The harness's store takes so many. */
export const MAX_IN_CONTRACT = 1500;

const HOUR_MS = 3_600_000;

export function describeRevocationStore(
  name: string,
  makeHarness: () => Promise<RevocationStoreHarness>,
): void {
  describe(name, () => {
    let harness: RevocationStoreHarness;
    let store: RevocationStore;
    let app: string;

    beforeEach(async () => {
      harness = await makeHarness();
      store = harness.store;
      app = `app-${randomUUID()}`;
    });
    afterEach(() => harness.close());

    const soonMs = Date.now() + HOUR_MS;

    function ofToken(id: string, expiresAtMs = soonMs): Revocation {
      return { app, subject: "token", id, issuedBeforeMs: 0, expiresAtMs };
    }

    function ofUser(id: string, issuedBeforeMs: number, expiresAtMs = soonMs): Revocation {
      return { app, subject: "user", id, issuedBeforeMs, expiresAtMs };
    }

    it("begins with nothing", async () => {
      expect(await store.since(undefined)).toMatchObject({ isWhole: true, revocations: [] });
    });

    it("knows what was added, and tells what came behind a mark", async () => {
      expect(await store.add([ofToken("t1"), ofUser("u1", 1000)])).toEqual(["kept", "kept"]);
      const first = await harness.elsewhere.since(undefined);
      expect(first).toMatchObject({ isWhole: true, revocations: [ofToken("t1"), ofUser("u1", 1000)] });
      expect(await store.since(first.mark)).toEqual({ mark: first.mark, isWhole: false, revocations: [] });
      await harness.elsewhere.add([ofToken("t2")]);
      const second = await store.since(first.mark);
      expect(second).toMatchObject({ isWhole: false, revocations: [ofToken("t2")] });
      expect((await store.since(undefined)).revocations).toHaveLength(3);
    });

    it("widens what it knows of a subject, in whichever order it comes, and tells that as news", async () => {
      await store.add([ofUser("u1", 2000, soonMs)]);
      const { mark } = await store.since(undefined);
      await store.add([ofUser("u1", 1000, soonMs + 5), ofUser("u1", 3000, soonMs - 5)]);
      expect((await store.since(mark)).revocations).toEqual([ofUser("u1", 3000, soonMs + 5)]);
      expect((await store.since(undefined)).revocations).toEqual([ofUser("u1", 3000, soonMs + 5)]);
    });

    it("has no news of what is added again", async () => {
      await store.add([ofToken("t1"), ofUser("u1", 1000)]);
      const { mark } = await store.since(undefined);
      expect(await store.add([ofToken("t1"), ofUser("u1", 999), ofToken("t1", soonMs - 1)])).toEqual([
        "kept",
        "kept",
        "kept",
      ]);
      expect(await store.since(mark)).toEqual({ mark, isWhole: false, revocations: [] });
    });

    it("keeps nothing whose time is over", async () => {
      expect(await store.add([ofToken("t1", Date.now() - 1000)])).toEqual(["kept"]);
      expect((await store.since(undefined)).revocations).toEqual([]);
    });

    it("forgets a revocation when its time is over", async () => {
      await store.add([ofToken("short", Date.now() + 20), ofToken("long")]);
      await vi.waitFor(
        async () => {
          // Sweeping comes with adding.
          await store.add([ofToken(randomUUID())]);
          const ids = (await store.since(undefined)).revocations.map(({ id }) => id);
          expect(ids).toContain("long");
          expect(ids).not.toContain("short");
        },
        { interval: 20, timeout: 5000 },
      );
    });

    it("takes no more than it may keep, and says which were too many", async () => {
      const many = Array.from({ length: MAX_IN_CONTRACT + 1 }, (_, index) => ofToken(`t${index}`));
      const outcomes = await store.add(many);
      expect(outcomes.filter((outcome) => outcome === "kept")).toHaveLength(MAX_IN_CONTRACT);
      expect(outcomes.at(-1)).toBe("full");
      // What is known can still be widened.
      expect(await store.add([ofToken("t0", soonMs + 1)])).toEqual(["kept"]);
      expect((await store.since(undefined)).revocations).toHaveLength(MAX_IN_CONTRACT);
    });

    it("takes any text for ids", async () => {
      const ids = ["a:b", "{x}", "*", "a\nb", "é", '"', "x".repeat(256)];
      await store.add(ids.flatMap((id) => [ofToken(id), ofUser(id, 5)]));
      const { revocations } = await store.since(undefined);
      expect(revocations).toEqual(ids.flatMap((id) => [ofToken(id), ofUser(id, 5)]));
    });

    it("tells everybody who listens when something is added, and nobody when nothing is", async () => {
      const told = { here: 0, elsewhere: 0 };
      await store.listen({ added: () => (told.here += 1), interrupted: () => undefined });
      await harness.elsewhere.listen({ added: () => (told.elsewhere += 1), interrupted: () => undefined });
      await store.add([ofToken("t1")]);
      await vi.waitFor(() => expect(told).toEqual({ here: 1, elsewhere: 1 }), { timeout: 5000 });
      await store.add([ofToken("t1")]);
      await store.add([ofToken("t2")]);
      await vi.waitFor(() => expect(told).toEqual({ here: 2, elsewhere: 2 }), { timeout: 5000 });
    });

    it("tells a mark of before it was emptied all that it has, in another epoch", async () => {
      await store.add([ofToken("t1"), ofToken("t2")]);
      const { mark } = await store.since(undefined);
      await harness.empty();
      expect(await store.since(mark)).toMatchObject({ isWhole: true, revocations: [] });
      await store.add([ofToken("t3"), ofToken("t4"), ofToken("t5")]);
      const news = await store.since(mark);
      expect(news).toMatchObject({
        isWhole: true,
        revocations: [ofToken("t3"), ofToken("t4"), ofToken("t5")],
      });
      expect(news.mark.epoch).not.toBe(mark.epoch);
    });

    it("tells a mark that is ahead of it all that it has: it came back with an older copy", async () => {
      await store.add([ofToken("t1")]);
      const { mark } = await store.since(undefined);
      const ahead = { ...mark, version: mark.version + 1 };
      expect(await store.since(ahead)).toEqual({ mark, isWhole: true, revocations: [ofToken("t1")] });
    });
  });
}
