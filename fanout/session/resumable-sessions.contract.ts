/** What every store of resumable sessions promises, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  MAX_RESUMABLE_SESSIONS,
  type Cursor,
  type ResumableSessions,
  type ResumeAnswer,
  type SessionSave,
} from "./resumable-sessions.js";

export interface ResumableSessionsHarness {
  readonly store: ResumableSessions;
  close(): Promise<void>;
}

const at = (offset: number, epoch = "e"): Cursor => ({ epoch, offset, tag: offset * 7 });
const cursors = (entries: Readonly<Record<string, Cursor | "removed">>) => new Map(Object.entries(entries));

export function describeResumableSessions(
  name: string,
  makeHarness: (options: { readonly ttlMs: number }) => Promise<ResumableSessionsHarness>,
): void {
  describe(name, () => {
    const harnesses: ResumableSessionsHarness[] = [];
    let store: ResumableSessions;
    let app: string;

    async function make(ttlMs: number): Promise<ResumableSessions> {
      const harness = await makeHarness({ ttlMs });
      harnesses.push(harness);
      return harness.store;
    }

    beforeEach(async () => {
      store = await make(3_600_000);
      app = `app-${randomUUID()}`;
    });
    afterEach(async () => {
      for (const harness of harnesses.splice(0)) await harness.close();
    });

    function save(more: Partial<SessionSave> = {}): SessionSave {
      return {
        app,
        userId: "u1",
        sessionId: "s1",
        generation: 1,
        isGenerationConfirmed: true,
        connectionId: "c1",
        homeStampUs: 1_790_000_000_000_000,
        cursors: cursors({ "order:1": at(3), "user:u1": "unknown" }),
        isWhole: true,
        ...more,
      };
    }

    const later = (more: Partial<SessionSave>): SessionSave =>
      save({ isWhole: false, cursors: new Map(), ...more });

    function resume(generation: number, more: Partial<SessionSave> = {}): Promise<ResumeAnswer> {
      const { userId, sessionId, connectionId, homeStampUs } = save({ connectionId: "c2", ...more });
      return store.resume({ app, userId, sessionId, generation, connectionId, homeStampUs });
    }

    async function stored(): Promise<Record<string, Cursor>> {
      const answer = await resume(Number.MAX_SAFE_INTEGER - 1, { homeStampUs: 1_990_000_000_000_000 });
      if (answer.outcome !== "resumed") throw new Error(answer.outcome);
      return Object.fromEntries(answer.cursors);
    }

    it("gives back what was saved, raises the generation, and names the connection before", async () => {
      const epoch = "an epoch\nof any text";
      await store.save(save({ cursors: cursors({ "order:1": at(3, epoch), "user:u1": "unknown" }) }));
      expect(await resume(1)).toEqual({
        outcome: "resumed",
        generation: 2,
        replacedConnectionId: "c1",
        cursors: new Map<string, Cursor>([
          ["order:1", at(3, epoch)],
          ["user:u1", "unknown"],
        ]),
      });
    });

    it("removes a session, says whether there was one, and leaves the user's others", async () => {
      await store.save(save());
      await store.save(save({ sessionId: "s2" }));
      expect(await store.remove({ app, userId: "u2" }, "s1")).toBe(false);
      expect(await store.remove({ app, userId: "u1" }, "s1")).toBe(true);
      expect(await store.remove({ app, userId: "u1" }, "s1")).toBe(false);
      expect(await resume(1)).toEqual({ outcome: "gone" });
      expect(await store.save(later({}))).toBe("removed");
      expect(await store.save(save())).toBe("removed");
      expect(await resume(1)).toEqual({ outcome: "gone" });
      expect(await store.remove({ app, userId: "u1" }, "s1")).toBe(false);
      expect(await store.save(save())).toBe("removed");
      expect(await resume(1, { sessionId: "s2" })).toMatchObject({ outcome: "resumed" });
    });

    it("knows nothing of other sessions, users and apps", async () => {
      await store.save(save());
      expect(await resume(1, { sessionId: "s2" })).toEqual({ outcome: "gone" });
      expect(await resume(1, { userId: "u2" })).toEqual({ outcome: "gone" });
      app += "x";
      expect(await resume(1)).toEqual({ outcome: "gone" });
    });

    it("accepts the stored generation and no older one where it is confirmed", async () => {
      await store.save(save({ generation: 5 }));
      expect(await resume(4)).toEqual({ outcome: "used" });
      expect(await resume(5)).toMatchObject({ outcome: "resumed", generation: 6 });
    });

    it("accepts the token that was accepted last until a newer one is confirmed, however often", async () => {
      await store.save(save());
      for (const generation of [2, 3, 4]) {
        expect(await resume(1)).toMatchObject({ outcome: "resumed", generation });
      }
      await store.save(later({ generation: 4, connectionId: "c2" }));
      const next = (generation: number) => resume(generation, { connectionId: `c${(connections += 1)}` });
      let connections = 2;
      for (const used of [1, 2, 3]) expect(await next(used)).toEqual({ outcome: "used" });
      expect(await next(4)).toMatchObject({ outcome: "resumed", generation: 5 });
      expect(await next(4)).toMatchObject({ outcome: "resumed", generation: 6 });
      // Who shows the newer one has it, and the older one is used up.
      expect(await next(6)).toMatchObject({ outcome: "resumed", generation: 7 });
      expect(await next(5)).toEqual({ outcome: "used" });
    });

    it("accepts the token again from the connection that it was accepted for, whatever is confirmed since", async () => {
      await store.save(save({ generation: 3 }));
      await resume(3);
      await store.save(later({ generation: 4, connectionId: "c2" }));
      expect(await resume(3, { connectionId: "c3" })).toEqual({ outcome: "used" });
      expect(await resume(2)).toEqual({ outcome: "used" });
      expect(await resume(3)).toMatchObject({ outcome: "resumed", generation: 5 });
    });

    it("accepts a token that is newer than what a failover has left", async () => {
      await store.save(save());
      expect(await resume(3)).toMatchObject({ outcome: "resumed", generation: 4 });
    });

    it("names the same connection to be closed where a connection resumes again", async () => {
      await store.save(save());
      expect(await resume(1)).toMatchObject({ replacedConnectionId: "c1" });
      expect(await resume(1)).toMatchObject({ replacedConnectionId: "c1" });
      expect(await resume(2, { connectionId: "c3" })).toMatchObject({ replacedConnectionId: "c2" });
    });

    it("changes the cursors that a save names, and leaves the others", async () => {
      await store.save(save({ cursors: cursors({ "order:1": at(1), "order:2": at(2), "order:3": at(3) }) }));
      const change = cursors({
        "order:2": at(5),
        "order:3": "removed",
        "order:4": at(4),
        "order:9": "removed",
      });
      expect(await store.save(later({ cursors: change }))).toBe("saved");
      expect(await stored()).toEqual({ "order:1": at(1), "order:2": at(5), "order:4": at(4) });
    });

    it("forgets the other cursors with a whole save", async () => {
      await store.save(save({ cursors: cursors({ "order:1": at(1), "order:2": at(2) }) }));
      await store.save(save({ cursors: cursors({ "order:2": at(3) }) }));
      expect(await stored()).toEqual({ "order:2": at(3) });
    });

    it("says where there is no record to change, and makes none of a part", async () => {
      expect(await store.save(later({ cursors: cursors({ "order:1": at(1) }) }))).toBe("missing");
      expect(await resume(1)).toEqual({ outcome: "gone" });
    });

    it("ignores what an earlier home saves when it wakes up", async () => {
      await store.save(save());
      await store.save(later({ homeStampUs: 1_790_000_000_000_002 }));
      const late = { homeStampUs: 1_790_000_000_000_001, cursors: cursors({ "order:1": at(1) }) };
      expect(await store.save(later(late))).toBe("superseded");
      expect(await store.save(save(late))).toBe("superseded");
      expect(await stored()).toEqual({ "order:1": at(3), "user:u1": "unknown" });
    });

    it("ignores what the connection before saves after a resume, also by a later clock", async () => {
      await store.save(save());
      await resume(1);
      const late = { homeStampUs: 1_890_000_000_000_000, cursors: cursors({ "order:1": at(1) }) };
      expect(await store.save(later(late))).toBe("replaced");
      expect(await store.save(save(late))).toBe("replaced");
      expect(await stored()).toEqual({ "order:1": at(3), "user:u1": "unknown" });
    });

    it("changes nothing for a claim that a frozen home had under way, of the same connection or of one before", async () => {
      await store.save(save());
      const resumed = await resume(1, { homeStampUs: 1_790_000_000_000_002 });
      expect(resumed).toMatchObject({ outcome: "resumed", generation: 2 });
      const late = { homeStampUs: 1_790_000_000_000_001 };
      expect(await resume(1, late)).toEqual({ outcome: "superseded" });
      expect(await resume(1, { ...late, connectionId: "c1" })).toEqual({ outcome: "superseded" });
      const { connectionId, homeStampUs } = save({ connectionId: "c2", homeStampUs: 1_790_000_000_000_002 });
      expect(await store.save(later({ generation: 2, connectionId, homeStampUs }))).toBe("saved");
      expect(await resume(2, { homeStampUs, connectionId: "c3" })).toMatchObject({
        generation: 3,
        replacedConnectionId: "c2",
      });
    });

    it("does not forget that a generation was confirmed", async () => {
      await store.save(save());
      await resume(1);
      const next = { generation: 2, connectionId: "c2" };
      await store.save(later({ ...next, isGenerationConfirmed: false }));
      expect(await resume(1)).toMatchObject({ outcome: "resumed", generation: 3 });
      await store.save(later({ ...next, generation: 3 }));
      await store.save(later({ ...next, generation: 3, isGenerationConfirmed: false }));
      expect(await resume(2, { connectionId: "c3" })).toEqual({ outcome: "used" });
    });

    it("lets one of many who resume with the same confirmed token at once have each generation", async () => {
      await store.save(save());
      const answers = await Promise.all(Array.from({ length: 20 }, () => resume(1)));
      const generations = answers.map((answer) => (answer.outcome === "resumed" ? answer.generation : 0));
      expect(new Set(generations).size).toBe(20);
      expect(Math.max(...generations)).toBe(21);
    });

    it("drops the session that was saved longest ago where a user has too many", async () => {
      const ids = Array.from({ length: MAX_RESUMABLE_SESSIONS }, (_, index) => `session-${index}`);
      for (const sessionId of ids) await store.save(save({ sessionId }));
      await store.save(later({ sessionId: "session-0" }));
      await store.save(save({ sessionId: "one more" }));
      await store.save(save({ userId: "u2", sessionId: "session-1" }));
      expect(await resume(1, { sessionId: "session-1" })).toEqual({ outcome: "gone" });
      for (const sessionId of ["session-0", "session-2", "one more"]) {
        expect(await resume(1, { sessionId })).toMatchObject({ outcome: "resumed" });
      }
    });

    it("forgets a session when its time is over", async () => {
      store = await make(20);
      await store.save(save());
      // A resume that comes too early lets it live on for as long.
      await vi.waitFor(async () => expect(await resume(1)).toEqual({ outcome: "gone" }), { interval: 50 });
      expect(await store.save(later({}))).toBe("missing");
    });

    it("takes any text for ids", async () => {
      for (const id of ["a:b", "{x}", "*", "a\nb", "é"]) {
        const owner = { userId: id, sessionId: id, connectionId: id };
        expect(await store.save(save(owner))).toBe("saved");
        expect(await resume(1, { ...owner, connectionId: "next" })).toMatchObject({
          replacedConnectionId: id,
        });
      }
    });
  });
}
