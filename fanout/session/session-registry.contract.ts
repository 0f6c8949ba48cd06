/** What every session registry promises, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import type { SessionRegistry } from "./session-registry.js";

export interface SessionRegistryHarness {
  readonly registry: SessionRegistry;
  close(): Promise<void>;
}

const LONG_MS = 60_000;

export function describeSessionRegistry(
  name: string,
  makeHarness: () => Promise<SessionRegistryHarness>,
): void {
  describe(name, () => {
    let harness: SessionRegistryHarness;
    let registry: SessionRegistry;
    let app: string;
    let edge: string;

    beforeEach(async () => {
      harness = await makeHarness();
      registry = harness.registry;
      app = `app-${randomUUID()}`;
      edge = `edge-${randomUUID()}`;
      await registry.renewEdge(edge, LONG_MS);
    });
    afterEach(() => harness.close());

    function session(connectionId: string, more: Partial<SessionRecord> = {}): SessionRecord {
      return SessionRecord.fromPartial({
        sessionId: `session of ${connectionId}`,
        connectionId,
        app,
        userId: "u1",
        role: "customer",
        deviceId: "phone",
        platform: "ios",
        edgeIncarnation: edge,
        fanoutId: "fanout-1",
        connectedAtMs: 1_790_000_000_000,
        generation: 1,
        ...more,
      });
    }

    it("knows a user's connections with all that was said of them, oldest first", async () => {
      const late = session("c1", { connectedAtMs: 3 });
      const early = session("c2", { connectedAtMs: 1 });
      await registry.put(late);
      await registry.put(early);
      expect(await registry.ofUser(app, "u1")).toEqual([early, late]);
      expect(await registry.ofUser(app, "u2")).toEqual([]);
      expect(await registry.ofUser(`${app}x`, "u1")).toEqual([]);
    });

    it("is not overwritten by an older home", async () => {
      const newer = session("c1", { generation: 5, fanoutId: "fanout-2" });
      await registry.put(newer);
      await registry.put(session("c1", { generation: 4 }));
      expect(await registry.ofUser(app, "u1")).toEqual([newer]);
      const same = session("c1", { generation: 5, platform: "android" });
      await registry.put(same);
      expect(await registry.ofUser(app, "u1")).toEqual([same]);
    });

    it("is not removed by an older home, but by its own or a newer one", async () => {
      const record = session("c1", { generation: 5 });
      await registry.put(record);
      await registry.remove({ ...record, generation: 4 });
      expect(await registry.ofUser(app, "u1")).toEqual([record]);
      await registry.remove(record);
      expect(await registry.ofUser(app, "u1")).toEqual([]);
      await registry.remove(record);
      await registry.put(record);
      await registry.remove({ ...record, generation: 6 });
      expect(await registry.ofUser(app, "u1")).toEqual([]);
    });

    it("removes one connection and leaves the user's others", async () => {
      await registry.put(session("c1"));
      await registry.put(session("c2"));
      await registry.remove(session("c1"));
      expect((await registry.ofUser(app, "u1")).map(({ connectionId }) => connectionId)).toEqual(["c2"]);
    });

    it("ends at the greatest generation under concurrent puts", async () => {
      const generations = Array.from({ length: 30 }, (_, index) => ((index * 7) % 30) + 1);
      await Promise.all(generations.map((generation) => registry.put(session("c1", { generation }))));
      expect((await registry.ofUser(app, "u1")).map(({ generation }) => generation)).toEqual([30]);
    });

    it("passes over records of an edge that has no lease", async () => {
      await registry.put(session("c1", { edgeIncarnation: `unknown-${randomUUID()}` }));
      await registry.put(session("c2"));
      expect((await registry.ofUser(app, "u1")).map(({ connectionId }) => connectionId)).toEqual(["c2"]);
    });

    it("passes over records when their edge's lease has ended, and knows them again when it is renewed", async () => {
      const dying = `edge-${randomUUID()}`;
      const record = session("c1", { edgeIncarnation: dying });
      await registry.renewEdge(dying, LONG_MS);
      await registry.put(record);
      expect(await registry.ofUser(app, "u1")).toEqual([record]);
      await registry.renewEdge(dying, 1);
      await vi.waitFor(async () => expect(await registry.ofUser(app, "u1")).toEqual([]), { interval: 5 });
      await registry.renewEdge(dying, LONG_MS);
      expect(await registry.ofUser(app, "u1")).toEqual([record]);
    });

    it("knows a record that was put before its edge's first lease", async () => {
      const young = `edge-${randomUUID()}`;
      const record = session("c1", { edgeIncarnation: young });
      await registry.put(record);
      expect(await registry.ofUser(app, "u1")).toEqual([]);
      await registry.renewEdge(young, LONG_MS);
      expect(await registry.ofUser(app, "u1")).toEqual([record]);
    });

    it("admits a connection, and tells the user's others where there are many, oldest first", async () => {
      await registry.put(session("c1", { connectedAtMs: 3 }));
      await registry.put(session("c2", { connectedAtMs: 1 }));
      await registry.put(session("c3", { userId: "u2" }));
      const others = async (record: SessionRecord, many: number) =>
        (await registry.admit(record, many)).map(({ connectionId }) => connectionId);
      expect(await others(session("c4"), 3)).toEqual([]);
      expect(await others(session("c5", { connectedAtMs: 4 }), 3)).toEqual(["c2", "c1", "c4"]);
      expect(await others(session("c5"), 3)).toEqual(["c2", "c1", "c4"]);
      expect((await registry.ofUser(app, "u1")).map(({ connectionId }) => connectionId)).toHaveLength(4);
    });

    it("counts only those at live edges among the others", async () => {
      await registry.put(session("c1"));
      await registry.put(session("c2", { edgeIncarnation: `unknown-${randomUUID()}` }));
      expect(await registry.admit(session("c3"), 2)).toEqual([]);
      expect(await registry.admit(session("c3"), 1)).toEqual([session("c1")]);
    });

    it("admits many at once so that each sees those that came before it", async () => {
      const records = Array.from({ length: 20 }, (_, index) => session(`c${index}`));
      const seen = await Promise.all(records.map((record) => registry.admit(record, 0)));
      const counts = seen.map((others) => others.length).sort((left, right) => left - right);
      expect(counts).toEqual(Array.from({ length: 20 }, (_, index) => index));
    });

    it("admits no older home's record over a newer one", async () => {
      const newer = session("c1", { generation: 5 });
      await registry.put(newer);
      await registry.admit(session("c1", { generation: 4 }), 9);
      expect(await registry.ofUser(app, "u1")).toEqual([newer]);
    });

    it("takes any text for ids", async () => {
      for (const id of ["a:b", "{x}", "*", "a\nb", "é"]) {
        const incarnation = `${edge}${id}`;
        await registry.renewEdge(incarnation, LONG_MS);
        const record = session(id, { userId: id, edgeIncarnation: incarnation });
        await registry.put(record);
        expect(await registry.ofUser(app, id)).toEqual([record]);
      }
    });
  });
}
