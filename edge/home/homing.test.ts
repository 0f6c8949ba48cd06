import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { FakeFanout, settled } from "#test/support/fake-fanout.js";
import { sessionOnFakeSocket, text } from "#test/support/session-on-fake-socket.js";
import { EdgeCounters } from "../edge-counters.js";
import { EdgeLink, type LinkedSession } from "../link/edge-link.js";
import { rendezvous } from "../link/rendezvous.js";
import type { UnansweredFrame } from "../session/edge-session.js";
import { StoreTime } from "../store-time.js";
import { DEFAULT_HOMING_LIMITS, Homing, type HomingLimits } from "./homing.js";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});

afterEach(() => {
  vi.useRealTimers();
});

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** An edge's homing with real links to fake fanouts. */
class FakeEdge {
  readonly counters = new EdgeCounters();
  readonly fanouts: FakeFanout[] = [];
  readonly links = new Set<EdgeLink>();
  readonly sessions: LinkedSession[] = [];
  readonly poison: UnansweredFrame[] = [];
  readonly homing: Homing;

  constructor(limits: Partial<HomingLimits> = {}, random: () => number = () => 0.5) {
    this.homing = new Homing({
      readyLinks: () => [...this.links].filter(({ phase }) => phase === "ready"),
      counters: this.counters,
      logger: silent,
      limits: { ...DEFAULT_HOMING_LIMITS, ...limits },
      nowMs: Date.now,
      random,
      refusePoison: (_session, frame) => this.poison.push(frame),
    });
  }

  async connect(name: string): Promise<FakeFanout> {
    const [ours, theirs] = loopbackLink();
    const link = new EdgeLink({
      stream: ours,
      edgeId: "edge-0",
      incarnation: "1",
      version: "test",
      counters: this.counters,
      nowMs: Date.now,
      clock: new StoreTime(Date.now),
      listener: {
        ready: (ready) => this.homing.linkReady(ready, this.sessions),
        draining: (draining) => this.homing.linkDraining(draining),
        verify: () => undefined,
        refreshed: () => undefined,
        released: (_link, session) => this.homing.released(session),
        ended: (ended, end) => {
          this.links.delete(ended);
          this.homing.linkEnded(ended, end);
        },
      },
    });
    this.links.add(link);
    const fanout = new FakeFanout(name, theirs);
    this.fanouts.push(fanout);
    fanout.hello();
    await settled();
    return fanout;
  }

  open(count: number): void {
    for (let index = 0; index < count; index += 1) {
      const { session } = sessionOnFakeSocket(this.sessions.length + 1);
      this.sessions.push(session);
      this.homing.place(session);
    }
  }

  take(session: LinkedSession): void {
    const frame = session.take(text("x"), 1);
    if (session.home.at === "link") session.home.link.frame(session, frame);
  }

  /** The sessions that live on the fanout of this name. */
  at(name: string): LinkedSession[] {
    return this.sessions.filter(({ home }) => home.at === "link" && home.link.name === name);
  }

  /** Gives back every session that the edge asked this fanout for. */
  async release(fanout: FakeFanout): Promise<number> {
    const asked = fanout.heard("release");
    fanout.said.length = 0;
    for (const { session } of asked) fanout.say({ $case: "released", value: { session, state: text("s") } });
    await settled();
    return asked.length;
  }
}

async function passMs(durationMs: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(durationMs);
  await settled();
}

async function edgeWith(names: readonly string[], limits: Partial<HomingLimits> = {}, random?: () => number) {
  const edge = new FakeEdge(limits, random);
  const fanouts: FakeFanout[] = [];
  for (const name of names) fanouts.push(await edge.connect(name));
  return { edge, fanouts };
}

function expectBestHomes(edge: FakeEdge, names: readonly string[]): void {
  const nodes = names.map((name) => ({ name }));
  for (const { home, homeKey } of edge.sessions) {
    expect(home.at === "link" && home.link.name).toBe(rendezvous(homeKey, nodes)?.name);
  }
}

describe("homes", () => {
  it("are where rendezvous hashing says, and each home is told of its sessions", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b", "c"]);
    edge.open(100);
    await settled();
    expectBestHomes(edge, ["a", "b", "c"]);
    expect(fanouts.map((fanout) => fanout.heard("open").length).reduce((sum, count) => sum + count)).toBe(
      100,
    );
  });

  it("are found as soon as there is a fanout, for those who wait for one", async () => {
    const edge = new FakeEdge();
    edge.open(10);
    expect([edge.homing.hasHome, edge.homing.homelessSessions]).toEqual([false, 10]);
    const fanout = await edge.connect("a");
    expect([edge.homing.hasHome, edge.homing.homelessSessions]).toEqual([true, 0]);
    expect(fanout.heard("open")).toHaveLength(10);
  });

  it("of a fanout that dies are the others' at once", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b", "c"]);
    edge.open(100);
    fanouts[0]?.die();
    await settled();
    expectBestHomes(edge, ["b", "c"]);
    expect(edge.counters.selfSuspicions).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("change at the pace of moves", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b"], { movesPerSecond: 500 });
    edge.open(200);
    const movers = edge.at("a").length;
    expect(movers).toBeGreaterThan(50);
    fanouts[0]?.die();
    await settled();
    expect(edge.homing.homelessSessions).toBe(movers - 10);
    await passMs(20);
    expect(edge.homing.homelessSessions).toBe(movers - 20);
    await passMs(1000);
    expect(edge.homing.homelessSessions).toBe(0);
    expectBestHomes(edge, ["b"]);
  });
});

describe("most fanouts dead at once", () => {
  it("make the edge suspect itself: nobody moves before the suspicion is over", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b", "c"]);
    edge.open(100);
    fanouts[0]?.die();
    await settled();
    fanouts[1]?.die();
    await settled();
    const waiting = edge.homing.homelessSessions;
    expect(edge.counters.selfSuspicions).toBe(1);
    expect(waiting).toBeGreaterThan(20);
    await passMs(DEFAULT_HOMING_LIMITS.suspicionMs - 100);
    expect(edge.homing.homelessSessions).toBe(waiting);
    await passMs(200);
    expect(edge.homing.homelessSessions).toBe(0);
    expectBestHomes(edge, ["c"]);
  });

  it("are no suspicion where they died one after the other, or where they said that they end", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b", "c", "d"]);
    edge.open(40);
    fanouts[0]?.die();
    await settled();
    await passMs(4000);
    fanouts[1]?.die();
    await settled();
    await passMs(4000);
    fanouts[2]?.say({ $case: "drain", value: { withinMs: 1 } });
    await settled();
    fanouts[2]?.die();
    await settled();
    expect(edge.counters.selfSuspicions).toBe(0);
    expectBestHomes(edge, ["d"]);
  });

  it("are forgotten when most are back", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b", "c"]);
    edge.open(100);
    for (const fanout of fanouts) fanout.die();
    await settled();
    expect(edge.counters.selfSuspicions).toBe(1);
    expect(edge.homing.homelessSessions).toBe(100);
    await edge.connect("a");
    expect(edge.homing.homelessSessions).toBe(100);
    await edge.connect("b");
    expect(edge.homing.homelessSessions).toBe(0);
  });
});

describe("a fanout that joins", () => {
  it("takes its share in moves that are spread over the window, and only its share", async () => {
    let step = 0;
    const { edge, fanouts } = await edgeWith(["a", "b"], {}, () => (step = (step + 1) % 10) / 10);
    edge.open(300);
    const joining = await edge.connect("c");
    const share = edge.sessions.filter(
      ({ homeKey }) =>
        rendezvous(
          homeKey,
          ["a", "b", "c"].map((name) => ({ name })),
        )?.name === "c",
    ).length;
    expect(share).toBeGreaterThan(50);
    let moved = 0;
    for (let slice = 1; slice <= 5; slice += 1) {
      await passMs(1000);
      for (const fanout of fanouts) moved += await edge.release(fanout);
      expect(moved).toBeGreaterThan((share * (slice - 1)) / 5);
      expect(moved).toBeLessThanOrEqual(Math.ceil((share * (slice + 1)) / 5));
    }
    await passMs(100);
    for (const fanout of fanouts) moved += await edge.release(fanout);
    expect(moved).toBe(share);
    expect(joining.heard("open")).toHaveLength(share);
    expectBestHomes(edge, ["a", "b", "c"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("gets nobody where it is gone again before the moves", async () => {
    const { edge, fanouts } = await edgeWith(["a"]);
    edge.open(50);
    const joining = await edge.connect("b");
    joining.die();
    await settled();
    await passMs(6000);
    expect(fanouts[0]?.heard("release")).toEqual([]);
    expectBestHomes(edge, ["a"]);
  });
});

describe("a fanout that drains", () => {
  it("is asked for all its sessions, and they go on elsewhere with what came meanwhile", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b"]);
    edge.open(50);
    const leaving = edge.at("a");
    const [first] = leaving;
    if (first === undefined || fanouts[0] === undefined || fanouts[1] === undefined) throw new Error("none");
    fanouts[0].say({ $case: "drain", value: { withinMs: 1000 } });
    await settled();
    edge.take(first);
    expect(await edge.release(fanouts[0])).toBe(leaving.length);
    expectBestHomes(edge, ["b"]);
    const frames = fanouts[1].heard("frame");
    expect(frames.map(({ session, upSequence }) => [session, upSequence])).toEqual([[first.number, 1]]);
  });

  it("keeps its sessions while there is no other, and gives them to the next one at once", async () => {
    const { edge, fanouts } = await edgeWith(["a"]);
    edge.open(5);
    fanouts[0]?.say({ $case: "drain", value: { withinMs: 1000 } });
    await settled();
    expect(edge.at("a")).toHaveLength(5);
    await edge.connect("b");
    if (fanouts[0] === undefined) throw new Error("none");
    expect(await edge.release(fanouts[0])).toBe(5);
    expectBestHomes(edge, ["b"]);
  });

  it("may die before it has given them back: they move all the same", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b"]);
    edge.open(50);
    fanouts[0]?.say({ $case: "drain", value: { withinMs: 1000 } });
    await settled();
    fanouts[0]?.die();
    await settled();
    expectBestHomes(edge, ["b"]);
  });
});

describe("a frame in flight when links died", () => {
  it("is sent again after the first death, and after the second answered and never sent again", async () => {
    const { edge, fanouts } = await edgeWith(["a"]);
    edge.open(1);
    const [session] = edge.sessions;
    if (session === undefined) throw new Error("none");
    edge.take(session);
    await settled();
    fanouts[0]?.die();
    await settled();
    const second = await edge.connect("b");
    expect(second.heard("frame")).toHaveLength(1);
    second.die();
    await settled();
    expect(edge.poison.map(({ upSequence }) => upSequence)).toEqual([1]);
    expect(edge.counters.poisonFrames).toBe(1);
    const third = await edge.connect("c");
    expect(third.heard("frame")).toEqual([]);
    edge.take(session);
    await settled();
    expect(third.heard("frame").map(({ upSequence }) => upSequence)).toEqual([2]);
  });

  it("is no poison for a death that it only waited through", async () => {
    const { edge, fanouts } = await edgeWith(["a"]);
    edge.open(1);
    const [session] = edge.sessions;
    if (session === undefined) throw new Error("none");
    if (session.home.at === "link") session.home.link.release(session);
    edge.take(session);
    fanouts[0]?.die();
    await settled();
    const second = await edge.connect("b");
    second.die();
    await settled();
    expect(edge.poison).toEqual([]);
    const third = await edge.connect("c");
    expect(third.heard("frame")).toHaveLength(1);
  });
});

describe("a socket that closes", () => {
  it("while its session has no home is told to the next one, which was told of nobody else's", async () => {
    const { edge, fanouts } = await edgeWith(["a"]);
    edge.open(2);
    const [gone] = edge.sessions;
    if (gone === undefined) throw new Error("none");
    edge.take(gone);
    await settled();
    fanouts[0]?.die();
    await settled();
    edge.homing.remove(gone, "client");
    const next = await edge.connect("b");
    expect(next.heard("open").map(({ session }) => session)).toEqual([1, 2]);
    expect(next.heard("close")).toEqual([{ session: 1, reason: "client" }]);
    expect(next.heard("frame")).toEqual([]);
    expect([...edge.links].map(({ sessions }) => sessions.size)).toEqual([1]);
  });

  it("while its session is on the way is told to the next home, once", async () => {
    const { edge, fanouts } = await edgeWith(["a", "b"]);
    edge.open(50);
    const [from, to] = fanouts;
    if (from === undefined || to === undefined) throw new Error("none");
    from.say({ $case: "drain", value: { withinMs: 1000 } });
    await settled();
    const [{ session: number } = { session: 0 }] = from.heard("release");
    const gone = edge.sessions[number - 1];
    if (gone === undefined) throw new Error("none");
    edge.homing.remove(gone, "client");
    await edge.release(from);
    expect(from.heard("close")).toEqual([]);
    expect(to.heard("close")).toEqual([{ session: number, reason: "client" }]);
    expect(edge.homing.homelessSessions).toBe(0);
  });

  it("a moment before its home dies is told to the next one too", async () => {
    const { edge, fanouts } = await edgeWith(["a"]);
    edge.open(2);
    for (const gone of edge.sessions.slice(0, 1)) edge.homing.remove(gone, "slow");
    fanouts[0]?.die();
    await settled();
    const next = await edge.connect("b");
    expect(next.heard("close")).toEqual([{ session: 1, reason: "slow" }]);
  });

  it("before any home knew its session is told to nobody", async () => {
    const edge = new FakeEdge();
    edge.open(1);
    const [gone] = edge.sessions;
    if (gone === undefined) throw new Error("none");
    edge.homing.remove(gone, "client");
    expect(edge.homing.homelessSessions).toBe(0);
    const fanout = await edge.connect("a");
    expect([fanout.heard("open"), fanout.heard("close")]).toEqual([[], []]);
  });
});

it("leaves no timer running after its stop, however its links end then", async () => {
  const { edge, fanouts } = await edgeWith(["a"]);
  edge.open(3);
  edge.homing.stop();
  fanouts[0]?.die();
  await settled();
  expect(vi.getTimerCount()).toBe(0);
});
