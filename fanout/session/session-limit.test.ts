/** How many sessions a user may have, on whole fanouts. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate } from "#test/support/fanout-core.js";
import { DEFAULT_SESSION_LIMIT, sessionsAtOneHome, type SessionLimitRule } from "./session-limit.js";
import { MemorySessionRegistry } from "./session-registry-memory.js";

let core: FanoutCore;
let edge: FakeEdge;
let elsewhere: FakeEdge;

afterEach(() => core.stop());

function limited(maxSessions: number, rule: SessionLimitRule): void {
  core = new FanoutCore({ sessionLimit: { maxSessions, rule } });
  edge = core.edge();
  elsewhere = core.edgeElsewhere();
}

async function open(at: FakeEdge, session: number, userId = "u1"): Promise<void> {
  at.open(session, { userId }, { connectionId: `${at === edge ? "here" : "there"}-${session}` });
  await vi.waitFor(() => expect(at.heard(session)).toContain(`subscribed user:${userId}`));
  // The next one is the younger, by the clock that orders them.
  const startedAtMs = Date.now();
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(startedAtMs), { interval: 1 });
}

const closes = (of: FakeEdge) => of.itemsOf("close").map(({ session, code }) => [session, code]);

describe("a user's sessions beyond the limit", () => {
  it("close the oldest, wherever it is, and never another user's", async () => {
    limited(2, "close_oldest");
    await open(elsewhere, 1);
    await open(edge, 2);
    await open(elsewhere, 9, "u2");
    expect([closes(edge), closes(elsewhere)]).toEqual([[], []]);
    await open(edge, 3);
    await vi.waitFor(() => expect(closes(elsewhere)).toEqual([[1, 4204]]));
    elsewhere.say({ $case: "close", value: { session: 1, reason: "session_limit" } });
    await vi.waitFor(async () => expect(await core.registry.ofUser("default", "u1")).toHaveLength(2));
    await open(elsewhere, 4);
    await vi.waitFor(() => expect(closes(edge)).toEqual([[2, 4204]]));
    expect(core.fanout.counters.sessionsOverLimit).toBe(1);
  });

  it("are refused, where that is the rule, and leave nothing behind", async () => {
    limited(2, "refuse");
    await open(edge, 1);
    await open(elsewhere, 2);
    edge.open(3, { userId: "u1" }, { replyTo: 5 });
    await vi.waitFor(() => expect(closes(edge)).toEqual([[3, 4204]]));
    expect(edge.framesOf(3)).toMatchObject([{ replyTo: 5, body: { $case: "error", value: { code: 7 } } }]);
    await vi.waitFor(async () => expect(await core.registry.ofUser("default", "u1")).toHaveLength(2));
    edge.say({ $case: "close", value: { session: 1, reason: "client" } });
    await vi.waitFor(async () => expect(await core.registry.ofUser("default", "u1")).toHaveLength(1));
    await open(edge, 4);
    expect([closes(edge).length, closes(elsewhere)]).toEqual([1, []]);
  });

  it("that come all at once are not overlooked: exactly so many get in", async () => {
    limited(3, "refuse");
    for (let session = 1; session <= 10; session += 1) {
      for (const at of [edge, elsewhere])
        at.open(session, { userId: "u1" }, { connectionId: `${at === edge ? "here" : "there"}-${session}` });
    }
    await vi.waitFor(() => expect(closes(edge).length + closes(elsewhere).length).toBe(17));
    const welcomed = [edge, elsewhere].flatMap((at) =>
      Array.from({ length: 10 }, (_, index) => at.heard(index + 1)).filter((words) =>
        words.includes("welcome"),
      ),
    );
    expect(welcomed).toHaveLength(3);
  });

  it("count no session twice that is continued on another connection", async () => {
    limited(1, "refuse");
    await open(edge, 1);
    const welcome = edge.framesOf(1)[0]?.body;
    if (welcome?.$case !== "welcome") throw new Error("no welcome");
    elsewhere.open(2, { userId: "u1" }, { awaitsResume: true, connectionId: "there-2" });
    elsewhere.request(2, {
      $case: "resume",
      value: { resumeToken: welcome.value.resumeToken, positions: {} },
    });
    await vi.waitFor(() => expect(elsewhere.heard(2)).toContain("subscribed user:u1"));
    expect(elsewhere.framesOf(2)[0]).toMatchObject({ body: { value: { resumed: true } } });
    // By the word of who took it over, and by a save that came too late.
    await vi.waitFor(() => expect(closes(edge)[0]).toEqual([1, 4202]));
  });

  it("may be any number where there is no limit, and a session that moves is not counted again", async () => {
    limited(1, "refuse");
    await open(edge, 1);
    edge.say({ $case: "release", value: { session: 1 } });
    await vi.waitFor(() => expect(edge.itemsOf("released")).toHaveLength(1));
    const { state } = edge.itemsOf("released")[0] ?? { state: new Uint8Array(0) };
    elsewhere.open(1, { userId: "u1" }, { state, connectionId: "here-1" });
    await vi.waitFor(() => expect(elsewhere.itemsOf("state")).toHaveLength(1));
    const [before] = await core.registry.ofUser("default", "u1");
    expect(before).toMatchObject({ connectionId: "here-1", fanoutId: "fanout-2" });
    expect(closes(elsewhere)).toEqual([]);
    await core.stop();
    limited(0, "refuse");
    for (let session = 1; session <= 30; session += 1) edge.open(session, { userId: "u1" });
    await vi.waitFor(() => expect(edge.heard(30)).toContain("welcome"));
    expect(closes(edge)).toEqual([]);
  });

  it("give way to nobody whose socket has closed before it was counted, with what it sent or without", async () => {
    limited(2, "close_oldest");
    await open(edge, 1);
    await open(elsewhere, 2);
    const store = gate();
    const admits = vi.spyOn(core.registry, "admit");
    const { admit } = MemorySessionRegistry.prototype;
    admits.mockImplementation(async (...asked) => {
      const others = await admit.apply(core.registry, asked);
      await store.opened;
      return others;
    });
    edge.open(3, { userId: "u1" }, { connectionId: "here-3" });
    edge.open(4, { userId: "u1", role: "porter" }, { connectionId: "here-4" });
    edge.request(4, {
      $case: "locationUpdate",
      value: { latitude: 1, longitude: 0, timestampMs: 0, orderId: "" },
    });
    await vi.waitFor(() => expect(admits).toHaveBeenCalledTimes(2));
    for (const session of [3, 4]) edge.say({ $case: "close", value: { session, reason: "client" } });
    store.open();
    await vi.waitFor(() => expect(core.fanout.counters.locationUpdates).toBe(1));
    await vi.waitFor(async () => {
      const records = await core.registry.ofUser("default", "u1");
      expect(records.map(({ connectionId }) => connectionId).sort()).toEqual(["here-1", "there-2"]);
    });
    expect([closes(edge), closes(elsewhere)]).toEqual([[], []]);
  });

  it("are told apart by when their sockets opened, also after they have moved", async () => {
    limited(2, "close_oldest");
    await open(edge, 1);
    await open(edge, 2);
    edge.say({ $case: "release", value: { session: 1 } });
    await vi.waitFor(() => expect(edge.itemsOf("released")).toHaveLength(1));
    const { state } = edge.itemsOf("released")[0] ?? { state: new Uint8Array(0) };
    elsewhere.open(1, { userId: "u1" }, { state, connectionId: "here-1" });
    await vi.waitFor(async () => {
      expect(await core.registry.ofUser("default", "u1")).toMatchObject([{ fanoutId: "fanout-2" }, {}]);
    });
    await open(edge, 3);
    await vi.waitFor(() => expect(closes(elsewhere)).toEqual([[1, 4204]]));
  });
});

describe("one user who opens sessions without end", () => {
  const COMING = 2_000;

  it("costs no more for each than for the first ones, and leaves others alone", async () => {
    core = new FanoutCore();
    edge = core.edge();
    elsewhere = edge;
    let read = 0;
    const { admit } = core.registry;
    core.registry.admit = async (record, many) => {
      const others = await admit.call(core.registry, record, many);
      read += others.length;
      return others;
    };
    for (let session = 1; session <= COMING; session += 1) edge.open(session, { userId: "u1" });
    await open(edge, COMING + 1, "u2");
    const atOnce = sessionsAtOneHome(DEFAULT_SESSION_LIMIT);
    expect(core.fanout.sessions).toBe(atOnce + 1);
    expect(core.fanout.counters.sessionsRefused).toBe(COMING - atOnce);
    expect(closes(edge).filter(([, code]) => code === 4003)).toHaveLength(COMING - atOnce);
    await vi.waitFor(() => expect(core.fanout.sessionsOpening + core.fanout.sessionsWaiting).toBe(0));
    const tells = core.broker.calls.filter((call) => call === "tell").length;
    expect(tells).toBeGreaterThanOrEqual(atOnce - DEFAULT_SESSION_LIMIT.maxSessions);
    expect(tells).toBeLessThanOrEqual(atOnce);
    expect(read).toBeLessThanOrEqual(atOnce * atOnce);
  });

  it("keeps the newest of them, also where no socket closes until all are in", async () => {
    limited(3, "close_oldest");
    for (let session = 1; session <= 40; session += 1) {
      edge.open(session, { userId: "u1" }, { connectionId: `c-${String(session).padStart(2, "0")}` });
    }
    const kept = new Set(Array.from({ length: 40 }, (_, index) => index + 1));
    await vi.waitFor(() => {
      for (const [session] of closes(edge)) kept.delete(session ?? 0);
      expect(kept.size).toBe(3);
    });
    expect(core.fanout.sessions).toBe(40);
  });
});
