import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import {
  arrive,
  comeBack,
  heardOf,
  leave,
  tokenOf,
  untilHeard,
  untilResumed,
  welcomesOf,
} from "#test/support/coming-back.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, order } from "#test/support/fanout-core.js";
import { signResumeToken } from "./resume-token.js";

const channel = order("42");
const owner = { app: "default", userId: "owner" };
const ping = { $case: "ping", value: { clientTimeMs: 1 } } as const;
let core: FanoutCore;
let edge: FakeEdge;
let elsewhere: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  elsewhere = core.edgeElsewhere();
  await core.grant(channel, "owner");
});

afterEach(() => core.stop());

const turn = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 5));
const closes = (of: FakeEdge): readonly (readonly [number, number])[] =>
  of.itemsOf("close").map(({ session, code }) => [session, code]);

async function at(offset: number): Promise<Position> {
  const [event] = await core.elsewhere.history(channel, { afterOffset: offset - 1, limit: 1 });
  if (event === undefined) throw new Error("no such event");
  return event.position;
}

/** From here on the edge reads frames after everything that was said. */
function readLater(of: FakeEdge): void {
  of.readAtUs = () => core.clock.nowUs();
}

/** The pong came of a ping that was written behind the welcome. */
function confirm(at: FakeEdge, session: number): void {
  at.say({ $case: "confirm", value: { session, positions: {} } });
}

describe("a resume token", () => {
  it("is good again, and again, until the client has shown that it has the next one", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42");
    for (const session of [2, 3, 4]) {
      comeBack(edge, session, { userId: "owner", resumeToken });
      edge.request(session, ping);
      await untilResumed(edge, session);
      // Read by the edge behind the welcome, and maybe sent before it came: it proves nothing.
      readLater(edge);
      edge.request(session, ping);
      await vi.waitFor(() => expect(edge.heard(session).filter((word) => word === "pong")).toHaveLength(2));
      if (session < 4) await leave(edge, session);
    }
    confirm(edge, 4);
    await leave(edge, 4);
    comeBack(edge, 5, { userId: "owner", resumeToken });
    await untilHeard(edge, 5, "error 6");
    comeBack(edge, 6, { userId: "owner", resumeToken: tokenOf(edge, 4) });
    await untilResumed(edge, 6);
  });

  it("is used up as soon as positions behind the next one's welcome are confirmed", async () => {
    const resumeToken = await arrive(edge, 1, "owner");
    comeBack(edge, 2, { userId: "owner", resumeToken });
    await untilResumed(edge, 2);
    confirm(edge, 2);
    await leave(edge, 2);
    comeBack(edge, 3, { userId: "owner", resumeToken });
    await untilHeard(edge, 3, "error 6");
  });

  it("is used up after a move too: the next home knows whether the next one was confirmed", async () => {
    const resumeToken = await arrive(edge, 1, "owner");
    comeBack(edge, 2, { userId: "owner", resumeToken });
    await untilResumed(edge, 2);
    const state = edge.itemsOf("state").at(-1)?.state ?? new Uint8Array();
    elsewhere.open(2, { userId: "owner" }, { state, nextUpSequence: 2 });
    elsewhere.request(2, ping);
    await untilHeard(elsewhere, 2, "pong");
    comeBack(elsewhere, 3, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 3);
    const states = elsewhere.itemsOf("state");
    elsewhere.open(4, { userId: "owner" }, { state: states.at(-1)?.state ?? state });
    await vi.waitFor(() => expect(elsewhere.itemsOf("state").length).toBe(states.length + 1));
    confirm(elsewhere, 4);
    await leave(elsewhere, 4);
    comeBack(edge, 5, { userId: "owner", resumeToken });
    await untilHeard(edge, 5, "error 6");
  });
});

describe("a refused resume", () => {
  const tooMany = (): Record<string, Position> =>
    Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`order:${index}`, { ...ZERO }]));

  it.each<[string, number, string, (token: string) => Partial<Parameters<typeof comeBack>[2]>]>([
    ["a used token", 6, "expired", () => ({ resumeToken: sign({ generation: 0 }) })],
    ["a session that is gone", 6, "expired", () => ({ resumeToken: sign({ sessionId: "gone" }) })],
    [
      "a forged token",
      2,
      "permission_denied",
      () => ({ resumeToken: signResumeToken(randomBytes(32), owner, { sessionId: "s", generation: 1 }) }),
    ],
    ["another user's token", 2, "permission_denied", (resumeToken) => ({ userId: "thief", resumeToken })],
    ["no token", 3, "invalid_argument", () => ({ resumeToken: "rubbish" })],
    ["what is no channel", 3, "invalid_argument", () => ({ positions: { nonsense: ZERO } })],
    ["an unknown kind of channel", 3, "invalid_argument", () => ({ positions: { "planet:1": ZERO } })],
    [
      "what is no position",
      3,
      "invalid_argument",
      () => ({ positions: { "order:42": { ...ZERO, epoch: "x".repeat(65) } } }),
    ],
    ["too many channels", 3, "invalid_argument", () => ({ positions: tooMany() })],
  ])("for %s is answered with error %i, and a new session is opened", async (_why, code, reason, change) => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42");
    sessionId = welcomesOf(edge, 1)[0]?.sessionId ?? "";
    confirm(edge, 1);
    await leave(edge, 1);
    const client = { userId: "owner", resumeToken, ...change(resumeToken) };
    comeBack(edge, 2, { ...client, open: { replyTo: 9 } });
    edge.request(2, ping);
    await untilHeard(edge, 2, "pong");
    expect(edge.heard(2)).toEqual([`error ${code}`, "welcome", `subscribed user:${client.userId}`, "pong"]);
    expect(edge.framesOf(2).map(({ replyTo }) => replyTo)).toEqual([1, 0, 0, 2]);
    const [welcome] = welcomesOf(edge, 2);
    expect(welcome?.resumed).toBe(false);
    expect(welcome?.sessionId).not.toBe(sessionId);
    expect(Object.fromEntries(core.fanout.counters.resumesRefused)).toEqual({ [reason]: 1 });
    expect(core.fanout.counters.sessionsResumed).toBe(0);
    // It has taken nothing: the client's own token is good.
    comeBack(elsewhere, 3, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 3);
  });

  const ZERO = { epoch: "", offset: 0, tag: 0 };
  let sessionId = "";

  function sign(ticket: { sessionId?: string; generation?: number }): string {
    return signResumeToken(core.resumeKeys.signing, owner, { sessionId, generation: 1, ...ticket });
  }
});

describe("a resume that was not announced, or comes late", () => {
  it.each([false, true])("is refused, and the session goes on (announced: %s)", async (awaitsResume) => {
    const resumeToken = await arrive(edge, 1, "owner");
    edge.open(2, { userId: "owner" }, { awaitsResume, replyTo: 9 });
    if (awaitsResume) edge.request(2, ping);
    edge.request(2, { $case: "resume", value: { resumeToken, positions: {} } });
    edge.request(2, ping);
    await vi.waitFor(() => expect(edge.heard(2).at(-1)).toBe("pong"));
    expect(edge.heard(2)).toEqual([
      "welcome",
      "subscribed user:owner",
      ...(awaitsResume ? ["pong"] : []),
      "error 3",
      "pong",
    ]);
    expect(edge.framesOf(2)[0]?.replyTo).toBe(9);
    expect(closes(edge)).toEqual([]);
  });
});

describe("a session that waits for its first frame", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("is a new one when none comes for 5 s", async () => {
    vi.useFakeTimers();
    edge.open(1, { userId: "owner" }, { awaitsResume: true });
    await vi.advanceTimersByTimeAsync(4900);
    expect(edge.heard(1)).toEqual([]);
    await vi.advanceTimersByTimeAsync(200);
    expect(edge.heard(1)).toEqual(["welcome", "subscribed user:owner"]);
  });

  it("waits no more where an earlier home has dealt with it", async () => {
    edge.open(1, { userId: "owner" }, { awaitsResume: true, nextUpSequence: 2 });
    await untilHeard(edge, 1, "welcome");
  });

  it("is gone at once when its socket closes", async () => {
    const saved = vi.spyOn(core.resumables, "save");
    edge.open(1, { userId: "owner" }, { awaitsResume: true });
    edge.say({ $case: "close", value: { session: 1, reason: "client" } });
    expect([core.fanout.sessions, core.fanout.onlineUsers]).toEqual([0, 0]);
    await turn();
    expect([edge.heard(1), saved.mock.calls]).toEqual([[], []]);
  });

  it("is given back at once, to wait at its next home", async () => {
    const resumeToken = await arrive(edge, 1, "owner");
    edge.open(2, { userId: "owner" }, { awaitsResume: true });
    edge.say({ $case: "release", value: { session: 2 } });
    await vi.waitFor(() => expect(edge.itemsOf("released")).toMatchObject([{ session: 2 }]));
    expect(edge.itemsOf("released")[0]?.state).toHaveLength(0);
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 2);
    expect(edge.heard(2)).toEqual([]);
  });
});

describe("the connection that had the session before", () => {
  it("is closed as replaced, wherever it lives, and no other of the user's", async () => {
    const resumeToken = await arrive(edge, 1, "owner");
    await arrive(edge, 2, "owner");
    comeBack(elsewhere, 3, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 3);
    await vi.waitFor(() => expect(closes(edge)).toContainEqual([1, 4202]));
    // By the word of it, and again where it had something to save meanwhile.
    expect(closes(edge).every(([session, code]) => session === 1 && code === 4202)).toBe(true);
    expect(closes(elsewhere)).toEqual([]);
  });

  it("is closed when it saves, where the word of it was lost", async () => {
    const saved = vi.spyOn(core.resumables, "save");
    const resumeToken = await arrive(edge, 1, "owner", "order:42");
    await vi.waitFor(() => expect(saved.mock.calls.at(-1)?.[0].cursors.has("order:42")).toBe(true));
    vi.spyOn(core.elsewhere, "tell").mockRejectedValue(new GatewayError("unavailable", "away"));
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 2);
    await core.publish(channel);
    await untilHeard(edge, 1, "orderStatus 1");
    expect(closes(edge)).toEqual([]);
    edge.say({ $case: "confirm", value: { session: 1, positions: { "order:42": await at(1) } } });
    await vi.waitFor(() => expect(closes(edge)).toEqual([[1, 4202]]));
    // What it confirmed is not the new connection's.
    await leave(elsewhere, 2);
    comeBack(elsewhere, 3, { userId: "owner", resumeToken: tokenOf(elsewhere, 2) });
    await untilResumed(elsewhere, 3);
    expect(heardOf(elsewhere, 3, "order:42")).toEqual(["recovered after 0", "1"]);
  });
});

it("a session that came from a home of the release before, without a token, is saved nowhere", async () => {
  const saved = vi.spyOn(core.resumables, "save");
  edge.open(1, { userId: "owner" }, { state: Buffer.from([10, 1, 115]) });
  edge.subscribe(1, "order:42");
  await untilHeard(edge, 1, "subscribed order:42");
  await leave(edge, 1);
  expect(saved).not.toHaveBeenCalled();
});
