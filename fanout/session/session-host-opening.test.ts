/** A storm of sessions at one fanout: what waits for its turn, and what does not. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate, order } from "#test/support/fanout-core.js";
import { DEFAULT_CONCURRENT_OPENINGS, DEFAULT_MAX_WAITING } from "./opening-queue.js";

const WAITING = 40;
const LAST = DEFAULT_CONCURRENT_OPENINGS + WAITING;
const PATIENCE = { timeout: 4_000 };

let core: FanoutCore;
let edge: FakeEdge;
let store: ReturnType<typeof gate>;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  edge.open(0, { userId: "early" });
  await vi.waitFor(() => expect(edge.heard(0)).toContain("subscribed user:early"), PATIENCE);
  store = gate();
  core.broker.answers.set("state", () => store.opened);
});

afterEach(() => core.stop());

/** More sessions of different users than are opened at once; the store does not answer yet. */
function storm(): void {
  for (let number = 1; number <= LAST; number += 1) edge.open(number, { userId: `u${number}` });
}

const turn = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 5));
const counts = (): readonly number[] => [core.fanout.sessionsOpening, core.fanout.sessionsWaiting];

/** What a session is opened with that another home has given back; it follows `order:42`. */
async function movedFromElsewhere(): Promise<{ readonly state: Uint8Array; readonly connectionId: string }> {
  await core.stop();
  core = new FanoutCore({ presence: { graceMs: 0 } });
  edge = core.edge();
  const elsewhere = core.edgeElsewhere();
  const connectionId = "moves";
  await core.grant(order("42"), "mover");
  elsewhere.open(1, { userId: "mover" }, { connectionId });
  elsewhere.subscribe(1, "order:42");
  await vi.waitFor(async () => expect(await tracesOfMover()).toEqual([1, 1, 1]), PATIENCE);
  elsewhere.say({ $case: "release", value: { session: 1 } });
  await vi.waitFor(() => expect(elsewhere.itemsOf("released")).toHaveLength(1), PATIENCE);
  return { state: elsewhere.itemsOf("released")[0]?.state ?? new Uint8Array(0), connectionId };
}

/** Connections in the registry, users online, members of the channel. */
async function tracesOfMover(): Promise<readonly number[]> {
  const connections = await core.registry.ofUser("default", "mover");
  const members = await core.presence.members(order("42"), "", 10);
  return [connections.length, await core.presence.countOnline("default"), members.total];
}

async function untilOpen(numbers: readonly number[]): Promise<void> {
  await vi.waitFor(() => {
    for (const number of numbers) expect(edge.heard(number)).toContain("welcome");
  }, PATIENCE);
}

function stateOf(channels: readonly string[]): Uint8Array {
  const snapshot = SessionSnapshot.fromPartial({ sessionId: "s", channels: [...channels], generation: 1 });
  return SessionSnapshot.encode(snapshot).finish();
}

describe("a storm of new sessions", () => {
  it("has so many opened at once; the others wait, hear nothing and cost the store nothing", async () => {
    const asked = core.broker.calls.length;
    storm();
    await turn();
    expect(counts()).toEqual([DEFAULT_CONCURRENT_OPENINGS, WAITING]);
    expect(core.fanout.followedChannels).toBe(1 + DEFAULT_CONCURRENT_OPENINGS);
    const calls = core.broker.calls.length - asked;
    store.open();
    await untilOpen([LAST]);
    expect(counts()).toEqual([0, 0]);
    expect(core.broker.calls.length - asked).toBeGreaterThanOrEqual(calls + WAITING);
  });

  it("is welcomed in the order in which it came", async () => {
    storm();
    store.open();
    await untilOpen([LAST]);
    const welcomed = edge.items.flatMap((item) =>
      item.$case === "state" && item.value.session > 0 ? [item.value.session] : [],
    );
    const firstOfWaiting = welcomed.indexOf(DEFAULT_CONCURRENT_OPENINGS + 1);
    expect(welcomed.slice(0, firstOfWaiting).length).toBe(DEFAULT_CONCURRENT_OPENINGS);
    expect(welcomed.slice(firstOfWaiting)).toEqual(
      Array.from({ length: WAITING }, (_, index) => DEFAULT_CONCURRENT_OPENINGS + 1 + index),
    );
  });

  it("leaves the frames of open sessions to be dealt with at once", async () => {
    storm();
    edge.request(0, { $case: "ping", value: { clientTimeMs: 1 } });
    await vi.waitFor(() => expect(edge.heard(0).at(-1)).toBe("pong"), PATIENCE);
    expect(counts()).toEqual([DEFAULT_CONCURRENT_OPENINGS, WAITING]);
    store.open();
    await untilOpen([LAST]);
  });

  it("is told to come back where too many wait, and live sessions are taken all the same", async () => {
    const full = DEFAULT_CONCURRENT_OPENINGS + DEFAULT_MAX_WAITING;
    for (let number = 1; number <= full; number += 1) edge.open(number, { userId: `u${number}` });
    edge.open(full + 1, { userId: "late" });
    edge.open(full + 2, { userId: "live" }, { state: stateOf(["user:live"]) });
    await vi.waitFor(() => expect(edge.itemsOf("close")).toHaveLength(1), { timeout: 10_000 });
    expect(edge.itemsOf("close")).toMatchObject([{ session: full + 1, code: 4003 }]);
    expect(core.fanout.counters.sessionsRefused).toBe(1);
    expect(core.fanout.sessionsWaiting).toBe(DEFAULT_MAX_WAITING + 1);
    edge.destroy("gone");
    expect(core.fanout.sessionsWaiting).toBe(0);
    store.open();
  }, 20_000);

  it("holds no place for a client that has not said yet where it resumes", async () => {
    for (let number = 1; number <= LAST; number += 1) {
      edge.open(number, { userId: `u${number}` }, { awaitsResume: true });
    }
    expect(counts()).toEqual([0, 0]);
    edge.open(LAST + 1, { userId: "new" });
    expect(counts()).toEqual([1, 0]);
    edge.request(5, { $case: "resume", value: { resumeToken: "nonsense", positions: {} } });
    await vi.waitFor(() => expect(counts()).toEqual([2, 0]), PATIENCE);
    store.open();
    await untilOpen([LAST + 1]);
  });
});

describe("a session that waits to be opened", () => {
  it("goes without a trace when its socket or its edge does", async () => {
    storm();
    edge.say({ $case: "close", value: { session: LAST, reason: "client" } });
    expect(counts()).toEqual([DEFAULT_CONCURRENT_OPENINGS, WAITING - 1]);
    const other = core.edge();
    other.open(1, { userId: "of another edge" });
    expect(counts()).toEqual([DEFAULT_CONCURRENT_OPENINGS, WAITING]);
    other.destroy("gone");
    expect(counts()).toEqual([DEFAULT_CONCURRENT_OPENINGS, WAITING - 1]);
    store.open();
    await untilOpen([LAST - 1]);
    expect([edge.heard(LAST), other.heard(1)]).toEqual([[], []]);
    expect(await core.registry.ofUser("default", `u${LAST}`)).toEqual([]);
    expect(core.fanout.sessions).toBe(LAST);
  });

  it("and lived before leaves nothing of what its earlier home had stored", async () => {
    const mover = await movedFromElsewhere();
    core.broker.answers.set("state", () => store.opened);
    storm();
    edge.open(LAST + 1, { userId: "mover" }, mover);
    expect(core.fanout.sessionsWaiting).toBe(WAITING + 1);
    for (let number = LAST + 1; number > 0; number -= 1) {
      edge.say({ $case: "close", value: { session: number, reason: "client" } });
    }
    store.open();
    await vi.waitFor(async () => expect(await tracesOfMover()).toEqual([0, 0, 0]), PATIENCE);
    await vi.waitFor(() => expect(core.fanout.sessions).toBe(0), PATIENCE);
  });

  it("and is refused although it lived before leaves nothing of that either", async () => {
    const mover = await movedFromElsewhere();
    const revoked = { app: "default", subject: "user", id: "mover", issuedBeforeMs: 0 } as const;
    await core.fanout.tokens.revocations.revoke([revoked]);
    edge.open(1, { userId: "mover" }, mover);
    await vi.waitFor(() => expect(edge.itemsOf("close")).toHaveLength(1), PATIENCE);
    edge.say({ $case: "close", value: { session: 1, reason: "revoked" } });
    await vi.waitFor(async () => expect(await tracesOfMover()).toEqual([0, 0, 0]), PATIENCE);
  });

  it("is opened all the same where it has sent something before its socket went", async () => {
    storm();
    const value = { latitude: 1, longitude: 0, timestampMs: 0, orderId: "" };
    edge.open(LAST + 1, { userId: "p1", role: "porter" });
    edge.request(LAST + 1, { $case: "locationUpdate", value });
    edge.say({ $case: "close", value: { session: LAST + 1, reason: "client" } });
    store.open();
    await vi.waitFor(() => expect(core.fanout.counters.locationUpdates).toBe(1), PATIENCE);
    await vi.waitFor(() => expect(core.fanout.sessions).toBe(LAST + 1), PATIENCE);
  });

  it("is given back at once where it is asked for, as it came", async () => {
    storm();
    for (let number = 1; number <= DEFAULT_CONCURRENT_OPENINGS; number += 1) {
      edge.open(LAST + number, { userId: `live-${number}` }, { state: stateOf([`user:live-${number}`]) });
    }
    expect(core.fanout.sessionsWaiting).toBe(WAITING + DEFAULT_CONCURRENT_OPENINGS);
    edge.say(
      { $case: "release", value: { session: LAST } },
      { $case: "release", value: { session: LAST + 7 } },
    );
    await vi.waitFor(() => expect(edge.itemsOf("released")).toHaveLength(2), PATIENCE);
    const [isNew, isLive] = edge.itemsOf("released");
    expect(isNew?.state.length).toBe(0);
    expect(SessionSnapshot.decode(isLive?.state ?? new Uint8Array())).toMatchObject({
      sessionId: "s",
      channels: ["user:live-7"],
    });
    store.open();
    await vi.waitFor(() => expect(counts()).toEqual([0, 0]), PATIENCE);
  });

  it("gives way to live sessions from another home", async () => {
    storm();
    edge.open(LAST + 1, { userId: "live" }, { state: stateOf(["user:live"]) });
    const opened: string[] = [];
    await turn();
    store.open();
    await untilOpen([LAST]);
    for (const item of edge.items) {
      if (item.$case === "state" && item.value.session > DEFAULT_CONCURRENT_OPENINGS) {
        opened.push(item.value.session === LAST + 1 ? "live" : "new");
      }
    }
    expect(opened.filter((each) => each === "live")).toHaveLength(1);
    expect(opened.indexOf("live")).toBeLessThan(WAITING);
    expect(core.fanout.counters.sessionsRestored).toBe(1);
  });
});
