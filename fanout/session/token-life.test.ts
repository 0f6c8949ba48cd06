/** Tokens on live sessions, on a whole fanout: refreshed, refused, revoked. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { Principal, SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import { channelOf } from "#fanout/channel/channel.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore } from "#test/support/fanout-core.js";

const NOW_S = Math.floor(Date.now() / 1000);
const USER = { userId: "u1", tokenId: "t1", issuedAt: NOW_S - 60 };
const AUTHENTICATE = {
  token: "jwt",
  deviceId: "",
  platform: "",
  userType: "",
  resumes: false,
  followOwn: false,
};

let core: FanoutCore;
let edge: FakeEdge;

beforeEach(() => {
  core = new FanoutCore();
  edge = core.checkingEdge();
});

afterEach(() => core.stop());

async function untilHeard(of: FakeEdge, session: number, word: string): Promise<void> {
  await vi.waitFor(() => expect(of.heard(session)).toContain(word));
}

async function open(
  session: number,
  principal: { userId: string } & Partial<Principal> = USER,
): Promise<void> {
  edge.open(session, principal);
  await untilHeard(edge, session, `subscribed user:${principal.userId}`);
}

const closes = (of = edge) => of.itemsOf("close").map(({ session, code }) => [session, code]);
const untilClosed = (...expected: readonly [session: number, code: number][]): Promise<void> =>
  vi.waitFor(() => expect(closes()).toEqual(expected));
const lastError = (session: number) => edge.framesOf(session).at(-1)?.body?.value;

/** The session sends a token, and its edge is asked about it. */
async function authenticate(session: number, more: Partial<typeof AUTHENTICATE> = {}) {
  const asked = edge.itemsOf("verify").length;
  edge.request(session, { $case: "authenticate", value: { ...AUTHENTICATE, ...more } });
  await vi.waitFor(() => expect(edge.itemsOf("verify")).toHaveLength(asked + 1));
  const request = edge.itemsOf("verify")[asked];
  if (request === undefined) throw new Error("the edge was not asked");
  return request;
}

function answer(request: { session: number; upSequence: number }, principal: Partial<Principal>): void {
  const value = Principal.fromPartial({ app: "default", role: "customer", userId: "u1", ...principal });
  const { session, upSequence } = request;
  edge.say({
    $case: "verified",
    value: { session, upSequence, result: { $case: "principal", value } },
  });
}

describe("a token on a live socket", () => {
  it("is checked by the edge, and the session goes on with it", async () => {
    await open(1);
    const request = await authenticate(1);
    expect(request).toMatchObject({ session: 1, token: "jwt", userType: "customer" });
    const next = { tokenId: "t2", issuedAt: NOW_S, expiresAt: NOW_S + 900, claimsJson: '{"city":"Oslo"}' };
    answer(request, next);
    await untilHeard(edge, 1, "reply");
    expect(edge.itemsOf("refresh")).toMatchObject([{ session: 1, principal: { userId: "u1", ...next } }]);
    // The edge keeps the new token before the client hears of it.
    const order = edge.items.map(({ $case }) => $case);
    expect(order.indexOf("refresh")).toBeLessThan(order.lastIndexOf("frame"));
    expect(core.fanout.counters.tokensRefreshed).toBe(1);
    await vi.waitFor(async () => {
      expect(await core.registry.ofUser("default", "u1")).toMatchObject([{ tokenId: "t2" }]);
    });
  });

  it.each([
    ["another user", { userId: "u2" }],
    ["another app", { app: "other" }],
    ["another role", { role: "admin" }],
  ])("of %s is refused, and the session stays who it is", async (_whose, principal) => {
    await open(1);
    answer(await authenticate(1), principal);
    await untilHeard(edge, 1, "error 2");
    expect(lastError(1)).toMatchObject({ field: "authenticate.token" });
    expect([edge.itemsOf("refresh"), closes()]).toEqual([[], []]);
  });

  it("that the edge does not believe is refused with the edge's words", async () => {
    await open(1);
    const { session, upSequence } = await authenticate(1);
    const error = new GatewayError("expired", "the token has expired").toMessage();
    edge.say({ $case: "verified", value: { session, upSequence, result: { $case: "error", value: error } } });
    await untilHeard(edge, 1, "error 6");
    expect(lastError(1)).toMatchObject({ message: "the token has expired", field: "authenticate.token" });
    expect(edge.itemsOf("refresh")).toEqual([]);
  });

  it.each([
    ["", "the token is for another role: connect again"],
    ["driver", "the user type is not the token's role"],
  ])("of another role by the edge's word is refused for what its client has said: %j", async (said, why) => {
    await open(1);
    const { session, upSequence } = await authenticate(1, { userType: said });
    const error = new GatewayError("permission_denied", "the user type is not the token's role").toMessage();
    edge.say({ $case: "verified", value: { session, upSequence, result: { $case: "error", value: error } } });
    await untilHeard(edge, 1, "error 2");
    expect(lastError(1)).toMatchObject({ message: why, field: "authenticate.token" });
  });

  it("that is empty is refused without a question", async () => {
    await open(1);
    edge.request(1, { $case: "authenticate", value: { ...AUTHENTICATE, token: "" } });
    await untilHeard(edge, 1, "error 3");
    expect(edge.itemsOf("verify")).toEqual([]);
  });

  it("with a user type is held against that instead of the session's role", async () => {
    await open(1);
    expect(await authenticate(1, { userType: "driver" })).toMatchObject({ userType: "driver" });
  });

  it("holds up the session's own frames only, and a late answer is nobody's", async () => {
    await open(1);
    await open(2, { userId: "u2" });
    const request = await authenticate(1);
    edge.request(1, { $case: "ping", value: { clientTimeMs: 0 } });
    edge.request(2, { $case: "ping", value: { clientTimeMs: 0 } });
    await untilHeard(edge, 2, "pong");
    expect(edge.heard(1)).not.toContain("pong");
    answer({ ...request, upSequence: 99 }, {});
    answer(request, {});
    await untilHeard(edge, 1, "pong");
    answer(request, { userId: "u2" });
    expect(edge.heard(1).filter((word) => word.startsWith("error"))).toEqual([]);
  });

  it("is not served where the edge is of a release that cannot check it", async () => {
    edge = core.edge();
    await open(1);
    edge.request(1, { $case: "authenticate", value: AUTHENTICATE });
    await untilHeard(edge, 1, "error 10");
    expect(edge.itemsOf("verify")).toEqual([]);
  });

  it("with other claims has the permissions of what is followed looked at again", async () => {
    const order = channelOf("default", "order", "42");
    await core.grant(order, "u1");
    await open(1);
    edge.subscribe(1, "order:42");
    await untilHeard(edge, 1, "subscribed order:42");
    // Ended without a word: only a look finds it.
    await core.directory.end(order, "u1");
    answer(await authenticate(1), {});
    await untilHeard(edge, 1, "reply");
    expect(edge.heard(1)).not.toContain("unsubscribed order:42");
    answer(await authenticate(1), { claimsJson: '{"plan":"none"}' });
    await untilHeard(edge, 1, "unsubscribed order:42");
  });
});

describe("a revocation", () => {
  const revoke = (subject: "token" | "user", id: string, issuedBeforeMs = 0) =>
    core.fanout.tokens.revocations.revoke([{ app: "default", subject, id, issuedBeforeMs }]);

  it("of a token closes the sessions that came with it, and no others", async () => {
    await open(1);
    await open(2, { ...USER, tokenId: "t2" });
    await open(3, { ...USER, userId: "u2" });
    await open(4, { ...USER, tokenId: "" });
    await revoke("token", "t1");
    await untilClosed([1, 4102], [3, 4102]);
    expect(core.fanout.counters.sessionsRevoked).toBe(2);
  });

  it("by issue time closes the sessions of the user's older tokens", async () => {
    await open(1, { userId: "u1", issuedAt: NOW_S - 10 });
    await open(2, { userId: "u1", issuedAt: NOW_S - 5 });
    await open(3, { userId: "u1", issuedAt: 0 });
    await open(4, { userId: "u2", issuedAt: NOW_S - 10 });
    await revoke("user", "u1", (NOW_S - 5) * 1000);
    await untilClosed([1, 4102], [3, 4102]);
    await revoke("user", "u1");
    await untilClosed([1, 4102], [3, 4102], [2, 4102]);
  });

  it("made at another fanout closes them too", async () => {
    const elsewhere = core.edgeElsewhere();
    elsewhere.open(1, USER);
    await untilHeard(elsewhere, 1, "subscribed user:u1");
    await revoke("token", "t1");
    await vi.waitFor(() => expect(closes(elsewhere)).toEqual([[1, 4102]]));
  });

  it("lets nobody in who comes with such a token: new, resuming, or from another home", async () => {
    await open(1, { userId: "u1", tokenId: "t9" });
    const [state] = edge.itemsOf("state").slice(-1);
    const welcome = edge.framesOf(1)[0]?.body;
    if (welcome?.$case !== "welcome" || state === undefined) throw new Error("no welcome");
    await revoke("token", "t1");
    edge.open(2, USER, { replyTo: 7 });
    await vi.waitFor(() => expect(closes()).toEqual([[2, 4102]]));
    expect(edge.framesOf(2)).toMatchObject([{ replyTo: 7, body: { $case: "error", value: { code: 1 } } }]);

    edge.open(3, USER, { awaitsResume: true });
    const resume = { resumeToken: welcome.value.resumeToken, positions: {} };
    edge.request(3, { $case: "resume", value: resume });
    await vi.waitFor(() => expect(closes().slice(1)).toEqual([[3, 4102]]));
    expect(edge.heard(3)).toEqual(["error 1"]);
    // Its session is still the first one's.
    expect(closes()).not.toContainEqual([1, 4202]);

    const snapshot = SessionSnapshot.encode(SessionSnapshot.fromPartial({ sessionId: "s4", generation: 1 }));
    edge.open(4, USER, { state: snapshot.finish(), nextUpSequence: 3 });
    await vi.waitFor(() => expect(closes().slice(2)).toEqual([[4, 4102]]));
    expect(edge.heard(4)).toEqual([]);
    expect(core.fanout.counters.sessionsRevoked).toBe(3);
  });

  it("closes a session that is on its way in", async () => {
    edge.open(1, USER, { awaitsResume: true });
    await revoke("token", "t1");
    await untilClosed([1, 4102]);
  });

  it("is about the token that a session has by now", async () => {
    await open(1);
    answer(await authenticate(1), { tokenId: "t2", issuedAt: NOW_S });
    await untilHeard(edge, 1, "reply");
    await revoke("token", "t1");
    await revoke("user", "u1", NOW_S * 1000);
    expect(core.fanout.counters.sessionsRevoked).toBe(0);
    await revoke("token", "t2");
    await untilClosed([1, 4102]);
  });

  it("of the token that a session shall go on with leaves it with the one that it has", async () => {
    await open(1);
    const request = await authenticate(1);
    await revoke("token", "t2");
    answer(request, { tokenId: "t2", issuedAt: NOW_S });
    await untilHeard(edge, 1, "error 1");
    expect([edge.itemsOf("refresh"), closes()]).toEqual([[], []]);
  });
});
