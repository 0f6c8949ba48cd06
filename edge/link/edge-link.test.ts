import { describe, expect, it } from "vitest";
import { DeliveryClass, DownFrame } from "#proto/gen/realtime/link/v1/link.js";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { FakeFanout, settled } from "#test/support/fake-fanout.js";
import { sessionOnFakeSocket, text } from "#test/support/session-on-fake-socket.js";
import { EdgeCounters } from "../edge-counters.js";
import { StoreTime } from "../store-time.js";
import { EdgeLink, type LinkedSession, type LinkEnd } from "./edge-link.js";

const MIB = 1024 * 1024;
const position = (offset: number) => ({ epoch: "e", offset, tag: offset });
const down = (fields: Partial<DownFrame>): DownFrame =>
  DownFrame.fromPartial({ session: 1, deliveryClass: DeliveryClass.DELIVERY_CLASS_DURABLE, ...fields });

function setUp() {
  const [ours, theirs] = loopbackLink();
  const clock = { nowMs: 1_000_000 };
  const nowMs = () => clock.nowMs;
  const counters = new EdgeCounters();
  const events = { ready: 0, draining: 0, released: [] as LinkedSession[], ended: [] as LinkEnd[] };
  const link = new EdgeLink({
    stream: ours,
    edgeId: "edge-0",
    incarnation: "1",
    version: "test",
    counters,
    nowMs,
    clock: new StoreTime(nowMs),
    listener: {
      ready: () => (events.ready += 1),
      draining: () => (events.draining += 1),
      verify: () => undefined,
      refreshed: () => undefined,
      released: (_link, session) => events.released.push(session),
      ended: (_link, end) => events.ended.push(end),
    },
  });
  /** A second passes, and the edge's clockwork runs. */
  const tick = (passedMs = 1000) => {
    clock.nowMs += passedMs;
    link.tick(0);
  };
  return { link, fanout: new FakeFanout("fanout-0", theirs), counters, events, clock, tick };
}

async function ready(options: { creditBytes?: number } = {}) {
  const parts = setUp();
  parts.fanout.hello(options);
  await settled();
  expect(parts.link.phase).toBe("ready");
  return parts;
}

/** A session that lives on the link and is in the group of a channel. */
async function joined(after = position(3)) {
  const parts = await ready();
  const on = sessionOnFakeSocket(1);
  parts.link.open(on.session);
  parts.fanout.say({ $case: "join", value: { group: 7, session: 1, channel: "order:1", after } });
  await settled();
  return { ...parts, ...on };
}

describe("a link's beginning", () => {
  it("is a hello each way; before it nobody lives there", async () => {
    const { link, fanout, events } = setUp();
    await settled();
    expect(fanout.heard("hello")).toMatchObject([{ edgeId: "edge-0", incarnation: "1" }]);
    expect([link.phase, link.name, events.ready]).toEqual(["greeting", "", 0]);
    fanout.hello();
    await settled();
    expect([link.phase, link.name, events.ready]).toEqual(["ready", "fanout-0", 1]);
  });

  it("is its end where the fanout chose a protocol that this edge does not speak", async () => {
    const { fanout, events } = setUp();
    fanout.hello({ protocol: 99 });
    await settled();
    expect(events.ready).toBe(0);
    expect(events.ended).toMatchObject([{ how: "died" }]);
  });
});

describe("a silent fanout", () => {
  it("is given up after 4 s, and not before", async () => {
    const { tick, events } = await ready();
    for (let second = 1; second <= 4; second += 1) tick();
    await settled();
    expect(events.ended).toEqual([]);
    tick();
    await settled();
    expect(events.ended).toEqual([{ how: "died", reason: "silent" }]);
  });

  it("is not given up while it says anything", async () => {
    const { tick, events, fanout } = await ready();
    for (let second = 1; second <= 20; second += 1) {
      tick();
      fanout.say();
      fanout.say({ $case: "credit", value: { bytes: 1 } });
      await settled();
    }
    expect(events.ended).toEqual([]);
    expect(fanout.heard("status").map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
  });

  it("is not given up for a pause of the edge itself: it gets its 4 s after that", async () => {
    const { tick, events } = await ready();
    tick(60_000);
    for (let second = 1; second <= 4; second += 1) tick();
    await settled();
    expect(events.ended).toEqual([]);
    tick();
    await settled();
    expect(events.ended).toHaveLength(1);
  });

  it("that sends what is no batch loses its link", async () => {
    const { fanout, events } = await ready();
    fanout.sendRaw(Buffer.from([0x0a, 0xff]));
    await settled();
    expect(events.ended).toMatchObject([{ how: "died" }]);
  });
});

describe("credits", () => {
  it("hold frames back until the fanout gives some, and pause sockets under pressure until it is gone", async () => {
    const { link, fanout, tick } = await ready({ creditBytes: 1 });
    const { session, socket } = sessionOnFakeSocket(1);
    link.open(session);
    for (let count = 0; count < 5; count += 1) link.frame(session, session.take(new Uint8Array(MIB), count));
    expect(socket.pausedFor.has("link")).toBe(true);
    await settled();
    expect([fanout.heard("open"), fanout.heard("frame")]).toEqual([[], []]);
    fanout.say({ $case: "credit", value: { bytes: 100 * MIB } });
    await settled();
    expect(fanout.heard("frame").map(({ upSequence }) => upSequence)).toEqual([1, 2, 3, 4, 5]);
    tick();
    expect(socket.pausedFor.has("link")).toBe(false);
  });

  it("are given back to the fanout for what was dealt with", async () => {
    const { fanout } = await ready();
    const value = {
      session: 99,
      payload: new Uint8Array(MIB),
      deliveryClass: DeliveryClass.DELIVERY_CLASS_DURABLE,
      channel: "",
      conflationKey: "",
      upSequence: 0,
    };
    for (let count = 0; count < 8; count += 1)
      fanout.say({ $case: "frame", value: { ...value, version: 0 } });
    await settled();
    const given = fanout.heard("credit").reduce((sum, { bytes }) => sum + bytes, 0);
    expect(given).toBeGreaterThan(7 * MIB);
  });

  it("that are missing for too long cut the link, and the frames wait for the next home", async () => {
    const { link, events } = await ready({ creditBytes: 1 });
    const { session, socket } = sessionOnFakeSocket(1);
    link.open(session);
    await settled();
    for (let count = 0; count < 70; count += 1) link.frame(session, session.take(new Uint8Array(MIB), count));
    await settled();
    expect(events.ended).toMatchObject([{ how: "died", reason: "the queue to the fanout is full" }]);
    expect(session.home).toEqual({ at: "nowhere" });
    expect(session.unanswered).toHaveLength(70);
    expect(socket.pausedFor.has("link")).toBe(false);
    expect(link.queuedBytes).toBe(0);
  });

  it("do not leave a socket unread that moves away while they are missing", async () => {
    const { link, fanout, events } = await ready({ creditBytes: 1 });
    const { session, socket } = sessionOnFakeSocket(1);
    link.open(session);
    await settled();
    for (let count = 0; count < 5; count += 1) link.frame(session, session.take(new Uint8Array(MIB), count));
    expect(socket.pausedFor.has("link")).toBe(true);
    link.release(session);
    fanout.say({ $case: "released", value: { session: 1, state: text("s") } });
    await settled();
    expect(events.released).toEqual([session]);
    expect(socket.pausedFor.has("link")).toBe(false);
  });
});

describe("a session on a link", () => {
  it("is opened with its state, its positions and the frames that nobody has dealt with", async () => {
    const { link, fanout } = await ready();
    const { session } = sessionOnFakeSocket(5, { userId: "u" });
    session.take(text("a"), 1);
    session.take(text("b"), 2);
    session.take(text("c"), 3);
    session.acknowledge(1);
    session.state = text("state");
    session.carriedPositions.set("order:1", position(9));
    link.open(session);
    await settled();
    expect(fanout.heard("open")).toMatchObject([
      { session: 5, principal: { userId: "u" }, positions: { "order:1": position(9) }, nextUpSequence: 2 },
    ]);
    expect(fanout.heard("open").map(({ state }) => Buffer.from(state).toString())).toEqual(["state"]);
    expect(fanout.heard("frame").map(({ payload }) => Buffer.from(payload).toString())).toEqual(["b", "c"]);
  });

  it("keeps the newest state, and forgets frames up to the acknowledged one", async () => {
    const { fanout, session } = await joined();
    for (const name of ["a", "b", "c"]) session.take(text(name), 1);
    fanout.say(
      { $case: "state", value: { session: 1, state: text("one") } },
      { $case: "state", value: { session: 1, state: text("two") } },
      { $case: "acknowledge", value: { sessions: [99, 1], upSequences: [7, 2] } },
    );
    await settled();
    expect(Buffer.from(session.state).toString()).toBe("two");
    expect(session.unanswered.map(({ upSequence }) => upSequence)).toEqual([3]);
  });

  it("gets what is for it alone and for its groups in the order of the stream, and is closed when told", async () => {
    const { fanout, socket } = await joined();
    const deliveryClass = DeliveryClass.DELIVERY_CLASS_DURABLE;
    const frame = { session: 1, deliveryClass, channel: "", conflationKey: "", version: 0, upSequence: 0 };
    fanout.deliver({ group: 7, json: text("event 4"), position: position(4) });
    fanout.say({ $case: "frame", value: { ...frame, payload: text("reply") } });
    fanout.deliver({ group: 7, json: text("event 5"), position: position(5) });
    fanout.say({ $case: "close", value: { session: 1, code: 4201, reason: "kicked" } });
    await settled();
    expect(socket.written).toEqual(["event 4", "reply", "event 5"]);
    expect(socket.closedWith).toEqual({ code: 4201, reason: "kicked" });
  });

  it("has its frame dealt with by the answer itself, so that the next home does not get it again", async () => {
    const { link, fanout, session, socket, events } = await joined();
    for (const name of ["a", "b"]) link.frame(session, session.take(text(name), 1));
    fanout.say({ $case: "frame", value: down({ payload: text("answer"), upSequence: 1 }) });
    fanout.die();
    await settled();
    expect(events.ended).toHaveLength(1);
    expect(socket.written).toEqual(["answer"]);
    expect(session.unanswered.map(({ upSequence }) => upSequence)).toEqual([2]);
  });

  it("stands at a missed event that was written, and presents it to its next home, until it has joined", async () => {
    const { fanout, session, socket } = await joined();
    const missed = (channel: string, offset: number) =>
      down({ payload: text(`${channel} ${offset}`), channel, position: position(offset) });
    fanout.say(
      { $case: "frame", value: missed("order:2", 4) },
      { $case: "frame", value: missed("order:3", 7) },
      { $case: "frame", value: missed("order:2", 5) },
      { $case: "join", value: { group: 8, session: 1, channel: "order:3", after: position(8) } },
      { $case: "frame", value: down({ payload: text("no channel"), position: position(99) }) },
    );
    fanout.die();
    await settled();
    expect(socket.written).toEqual(["order:2 4", "order:3 7", "order:2 5", "no channel"]);
    expect(session.openMessage().positions).toEqual({
      "order:1": position(3),
      "order:2": position(5),
      "order:3": position(8),
    });
  });

  it("tells its home what the client has confirmed", async () => {
    const { link, fanout, session } = await joined();
    session.confirmed.pinged(1, session);
    link.confirm(session, session.confirmed.ponged(1) ?? new Map());
    await settled();
    expect(fanout.heard("confirm")).toEqual([{ session: 1, positions: { "order:1": position(3) } }]);
  });

  it("confirms nothing of a channel that it left while the pong was on its way, nor of an earlier home", async () => {
    const { link, fanout, session } = await joined();
    fanout.say({ $case: "join", value: { group: 8, session: 1, channel: "order:2", after: position(1) } });
    await settled();
    session.confirmed.pinged(1, session);
    fanout.say({ $case: "leave", value: { group: 7, session: 1 } });
    await settled();
    expect(session.confirmed.ponged(1)).toEqual(new Map([["order:2", position(1)]]));
    fanout.deliver({ group: 8, json: text("event"), position: position(2) });
    await settled();
    session.confirmed.pinged(2, session);
    link.release(session);
    fanout.say({ $case: "released", value: { session: 1, state: text("s") } });
    await settled();
    expect(session.confirmed.ponged(2)).toBeUndefined();
  });

  it("that is released takes its state and positions with it, and gets nothing more from here", async () => {
    const { link, fanout, session, socket, events, counters } = await joined();
    fanout.deliver({ group: 7, json: text("event 4"), position: position(4) });
    link.release(session);
    fanout.say({ $case: "released", value: { session: 1, state: text("final") } });
    fanout.deliver({ group: 7, json: text("late"), position: position(5) });
    await settled();
    expect(events.released).toEqual([session]);
    expect(session.home).toEqual({ at: "nowhere" });
    expect(session.openMessage()).toMatchObject({ positions: { "order:1": position(4) } });
    expect(Buffer.from(session.state).toString()).toBe("final");
    expect(socket.written).toEqual(["event 4"]);
    expect(counters.staleDeliveries).toBe(1);
    expect([link.sessions.size, link.groupCount]).toEqual([0, 0]);
  });

  it("that unsubscribes is out of the group, and carries nothing of it", async () => {
    const { link, fanout, session, socket } = await joined();
    fanout.say({ $case: "leave", value: { group: 7, session: 1 } });
    fanout.deliver({ group: 7, json: text("late"), position: position(4) });
    await settled();
    expect(socket.written).toEqual([]);
    expect(session.groups.size).toBe(0);
    expect(link.groupCount).toBe(0);
  });

  it("whose socket is gone leaves nothing here, and the fanout is told", async () => {
    const { link, fanout, session } = await joined();
    link.close(session, "client");
    await settled();
    expect(fanout.heard("close")).toEqual([{ session: 1, reason: "client" }]);
    expect([link.sessions.size, link.groupCount, session.groups.size]).toEqual([0, 0, 0]);
    // What the fanout said before it heard of it is for nobody.
    fanout.say({ $case: "join", value: { group: 8, session: 1, channel: "order:2", after: position(1) } });
    await settled();
    expect(link.groupCount).toBe(0);
  });
});

describe("a link's end", () => {
  it("leaves its sessions without a home, but with their positions and frames", async () => {
    const { link, fanout, session, events } = await joined();
    session.take(text("a"), 1);
    fanout.die();
    await settled();
    expect(events.ended).toEqual([{ how: "died", reason: "killed" }]);
    expect(link.phase).toBe("ended");
    expect(session.home).toEqual({ at: "nowhere" });
    expect(session.openMessage().positions).toEqual({ "order:1": position(3) });
    expect(session.unanswered).toHaveLength(1);
  });

  it("is no death after the fanout said that it drains", async () => {
    const { link, fanout, events } = await joined();
    const drain = { $case: "drain", value: { withinMs: 5000 } } as const;
    fanout.say(drain, drain);
    await settled();
    expect([link.phase, events.draining]).toEqual(["draining", 1]);
    fanout.end();
    await settled();
    expect(events.ended).toEqual([{ how: "drained" }]);
  });
});
