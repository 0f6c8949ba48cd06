import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Framing, SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import { Signal, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import { channelOf, userChannel } from "#fanout/channel/channel.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate } from "#test/support/fanout-core.js";

let core: FanoutCore;
let edge: FakeEdge;

beforeEach(() => {
  core = new FanoutCore();
  edge = core.edge();
});

afterEach(() => core.stop());

async function untilHeard(session: number, word: string): Promise<void> {
  await vi.waitFor(() => expect(edge.heard(session)).toContain(word));
}

async function open(session: number, userId: string): Promise<void> {
  edge.open(session, { userId });
  await untilHeard(session, `subscribed user:${userId}`);
}

const turn = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 5));
const closes = (): readonly (readonly [number, number])[] =>
  edge.itemsOf("close").map(({ session, code }) => [session, code]);

describe("a new session", () => {
  it("is welcomed, follows the user's channel, gives its state to the edge and is registered", async () => {
    edge.open(
      1,
      { userId: "u1", role: "porter" },
      { replyTo: 9, deviceId: "d1", heartbeatIntervalMs: 25_000 },
    );
    await vi.waitFor(() => expect(edge.itemsOf("state")).toHaveLength(1));
    expect(edge.heard(1)).toEqual(["welcome", "subscribed user:u1"]);
    expect(edge.framesOf(1)[0]).toMatchObject({
      replyTo: 9,
      body: {
        value: { connectionId: "connection-1", userId: "u1", role: "porter", heartbeatIntervalMs: 25_000 },
      },
    });
    const [state] = edge.itemsOf("state");
    expect(SessionSnapshot.decode(state?.state ?? new Uint8Array()).channels).toEqual(["user:u1"]);
    await vi.waitFor(async () => expect(await core.registry.ofUser("default", "u1")).toHaveLength(1));
    expect([core.fanout.sessions, core.fanout.onlineUsers]).toEqual([1, 1]);
  });

  it("deals with frames that came before it was open, in their order", async () => {
    edge.open(1, { userId: "u1" });
    edge.request(1, { $case: "ping", value: { clientTimeMs: 1 } });
    edge.subscribe(1, "order:1");
    await untilHeard(1, "error 2");
    expect(edge.heard(1)).toEqual(["welcome", "subscribed user:u1", "pong", "error 2"]);
  });

  it("is closed with a code to come back where the store is away", async () => {
    core.broker.isAway = true;
    edge.open(1, { userId: "u1" });
    await vi.waitFor(() => expect(closes()).toEqual([[1, 4003]]));
    expect(edge.heard(1)).toEqual([]);
  });

  it("whose socket is gone before it is open leaves no record and no word", async () => {
    const waiting = gate();
    core.broker.answers.set("state", () => waiting.opened);
    edge.open(1, { userId: "u1" });
    edge.say({ $case: "close", value: { session: 1, reason: "client" } });
    waiting.open();
    await vi.waitFor(() => expect(core.fanout.sessions).toBe(0));
    await turn();
    expect([edge.heard(1), closes()]).toEqual([[], []]);
    expect([core.fanout.sessions, core.fanout.onlineUsers]).toEqual([0, 0]);
    expect(await core.registry.ofUser("default", "u1")).toEqual([]);
  });
});

describe("a session that has left", () => {
  it("has sent what it sent: its frames are dealt with, and nothing is said to it", async () => {
    const waiting = gate();
    core.broker.answers.set("state", () => waiting.opened);
    edge.open(1, { userId: "p1", role: "porter" });
    for (const latitude of [1, 2, 3]) {
      const value = { latitude, longitude: 0, timestampMs: 0, orderId: "" };
      edge.request(1, { $case: "locationUpdate", value });
    }
    edge.say({ $case: "close", value: { session: 1, reason: "client" } });
    await turn();
    waiting.open();
    await vi.waitFor(() => expect(core.fanout.sessions).toBe(0));
    expect(core.fanout.counters.locationUpdates).toBe(3);
    expect(edge.heard(1)).toEqual([]);
  });
});

describe("a part that ends by itself", () => {
  it("ends for a live follower too, who is told why", async () => {
    const channel = channelOf("default", "order", "7");
    const expiresAtMs = Date.now() + 300;
    await core.participations.grant({ channel, userId: "u1", relation: "owner", expiresAtMs });
    await open(1, "u1");
    edge.subscribe(1, "order:7");
    await untilHeard(1, "subscribed order:7");
    await vi.waitFor(() => expect(edge.heard(1)).toContain("unsubscribed order:7"), { timeout: 5000 });
    expect(edge.framesOf(1).at(-1)?.body).toMatchObject({ value: { reason: 2 } });
  });
});

describe("users", () => {
  it("are counted once for all their sockets, on every link", async () => {
    await open(1, "u1");
    const other = core.edge();
    other.open(1, { userId: "u1" });
    other.open(2, { userId: "u2" });
    await vi.waitFor(() => expect(core.fanout.sessions).toBe(3));
    expect(core.fanout.onlineUsers).toBe(2);
    other.destroy("gone");
    expect([core.fanout.sessions, core.fanout.onlineUsers]).toEqual([1, 1]);
    edge.say({ $case: "close", value: { session: 1, reason: "client" } });
    expect([core.fanout.sessions, core.fanout.onlineUsers]).toEqual([0, 0]);
  });

  it("are disconnected by a signal: one socket, or all of them", async () => {
    await open(1, "u1");
    await open(2, "u1");
    await open(3, "u2");
    const disconnect = async (connectionId: string): Promise<void> => {
      const kind = SignalKind.SIGNAL_KIND_DISCONNECT;
      const signal = Signal.encode(Signal.fromPartial({ kind, connectionId, closeCode: 4203 })).finish();
      await core.elsewhere.tell(userChannel("default", "u1"), { signal });
      await turn();
    };
    await disconnect("connection-2");
    expect(closes()).toEqual([[2, 4203]]);
    await disconnect("");
    expect(closes().slice(1)).toEqual([
      [1, 4203],
      [2, 4203],
    ]);
  });
});

describe("what an edge says that makes no sense", () => {
  it("changes nothing: frames, closes and releases of sessions that are not here", async () => {
    edge.say(
      { $case: "close", value: { session: 5, reason: "" } },
      { $case: "release", value: { session: 6 } },
      {
        $case: "frame",
        value: { session: 7, upSequence: 1, receivedAtUs: 1, deadlineUs: 0, payload: new Uint8Array() },
      },
    );
    await open(1, "u1");
    expect(core.fanout.sessions).toBe(1);
  });

  it("closes a session with a state that is none, or without a user, and harms no other", async () => {
    await open(1, "u1");
    edge.open(2, { userId: "u2" }, { state: Buffer.from([0xff, 0xff]) });
    await vi.waitFor(() => expect(closes()).toEqual([[2, 4004]]));
    expect(core.fanout.sessions).toBe(1);
    const state = SessionSnapshot.encode(
      SessionSnapshot.fromPartial({ sessionId: "s", channels: ["nonsense"], generation: 1 }),
    ).finish();
    edge.open(3, { userId: "u3" }, { state });
    await vi.waitFor(() => expect(closes().map(([session]) => session)).toEqual([2, 3]));
    edge.request(1, { $case: "ping", value: { clientTimeMs: 1 } });
    await untilHeard(1, "pong");
  });

  it("lets the later one live of two sessions with one number", async () => {
    await open(1, "u1");
    edge.open(1, { userId: "u2" });
    await untilHeard(1, "subscribed user:u2");
    expect([core.fanout.sessions, core.fanout.onlineUsers]).toEqual([1, 1]);
    edge.say({ $case: "close", value: { session: 1, reason: "client" } });
    expect([core.fanout.sessions, core.fanout.onlineUsers]).toEqual([0, 0]);
  });
});

describe("a release", () => {
  it("is answered with the state, behind everything that the session sent", async () => {
    await open(1, "u1");
    edge.request(1, { $case: "ping", value: { clientTimeMs: 1 } });
    edge.say({ $case: "release", value: { session: 1 } });
    await vi.waitFor(() => expect(edge.itemsOf("released")).toHaveLength(1));
    const cases = edge.items.map(({ $case }) => $case);
    expect(cases.lastIndexOf("acknowledge")).toBeLessThan(cases.indexOf("released"));
    expect(edge.heard(1).at(-1)).toBe("pong");
    expect(core.fanout.sessions).toBe(0);
    // The record is the next home's to replace.
    expect(await core.registry.ofUser("default", "u1")).toHaveLength(1);
  });

  it("of a session that is being opened waits until it is open", async () => {
    const waiting = gate();
    core.broker.answers.set("state", () => waiting.opened);
    edge.open(1, { userId: "u1" }, { framing: Framing.FRAMING_PROTOBUF });
    edge.say({ $case: "release", value: { session: 1 } });
    await turn();
    expect(edge.itemsOf("released")).toEqual([]);
    waiting.open();
    await vi.waitFor(() => expect(edge.itemsOf("released")).toHaveLength(1));
    expect(edge.heard(1)).toEqual(["welcome", "subscribed user:u1"]);
  });
});
