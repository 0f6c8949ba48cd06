/** A user's own devices, on whole fanouts. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate } from "#test/support/fanout-core.js";

let core: FanoutCore;
let edge: FakeEdge;
let elsewhere: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  elsewhere = core.edgeElsewhere();
  edge.open(
    1,
    { userId: "u1", tokenId: "t-phone" },
    { connectionId: "c-phone", deviceId: "phone", platform: "ios" },
  );
  elsewhere.open(2, { userId: "u1", tokenId: "t-tablet" }, { connectionId: "c-tablet", deviceId: "tablet" });
  edge.open(3, { userId: "u2", tokenId: "t-other" }, { connectionId: "c-other" });
  await Promise.all([
    untilHeard(edge, 1, "subscribed user:u1"),
    untilHeard(elsewhere, 2, "subscribed user:u1"),
    untilHeard(edge, 3, "subscribed user:u2"),
  ]);
});

afterEach(() => core.stop());

async function untilHeard(of: FakeEdge, session: number, word: string): Promise<void> {
  await vi.waitFor(() => expect(of.heard(session)).toContain(word));
}

function sessionOf(of: FakeEdge, session: number) {
  const welcome = of.framesOf(session)[0]?.body;
  if (welcome?.$case !== "welcome") throw new Error("no welcome");
  return welcome.value;
}

const closes = (of: FakeEdge) => of.itemsOf("close").map(({ session, code }) => [session, code]);
const endDevice = (sessionId: string): void => edge.request(1, { $case: "endDevice", value: { sessionId } });

describe("a user's devices", () => {
  it("are listed over all fanouts, with the one that asks", async () => {
    edge.request(1, { $case: "listDevices", value: {} });
    await untilHeard(edge, 1, "deviceList");
    const body = edge.framesOf(1).at(-1)?.body;
    if (body?.$case !== "deviceList") throw new Error("no list");
    const devices = [...body.value.devices].sort((left, right) =>
      left.deviceId.localeCompare(right.deviceId),
    );
    expect(devices).toMatchObject([
      { sessionId: sessionOf(edge, 1).sessionId, deviceId: "phone", platform: "ios", isCurrent: true },
      { sessionId: sessionOf(elsewhere, 2).sessionId, deviceId: "tablet", isCurrent: false },
    ]);
    expect(devices.every(({ connectedAtMs }) => Math.abs(connectedAtMs - Date.now()) < 60_000)).toBe(true);
  });

  it("can be ended: closed wherever it is, not to be resumed, its token revoked", async () => {
    const { sessionId, resumeToken } = sessionOf(elsewhere, 2);
    endDevice(sessionId);
    await untilHeard(edge, 1, "reply");
    await vi.waitFor(() => expect(closes(elsewhere)[0]?.[0]).toBe(2));
    elsewhere.say({ $case: "close", value: { session: 2, reason: "kicked" } });
    await vi.waitFor(async () => expect(await core.registry.ofUser("default", "u1")).toHaveLength(1));

    elsewhere.open(4, { userId: "u1", tokenId: "t-tablet" }, { connectionId: "c-4" });
    await vi.waitFor(() => expect(closes(elsewhere)).toContainEqual([4, 4102]));
    elsewhere.open(5, { userId: "u1", tokenId: "t-new" }, { connectionId: "c-5", awaitsResume: true });
    elsewhere.request(5, { $case: "resume", value: { resumeToken, positions: {} } });
    await untilHeard(elsewhere, 5, "error 6");
    expect([closes(edge), edge.heard(3)]).toEqual([[], ["welcome", "subscribed user:u2"]]);
  });

  it("are not resumed by what their home saves while they are being ended", async () => {
    const { sessionId, resumeToken } = sessionOf(elsewhere, 2);
    const { opened, open } = gate();
    const remove = core.resumables.remove.bind(core.resumables);
    const removes = vi.spyOn(core.resumables, "remove").mockImplementation(async (...asked) => {
      const wasThere = await remove(...asked);
      await opened;
      return wasThere;
    });
    const saves = vi.spyOn(core.resumables, "save");
    endDevice(sessionId);
    await vi.waitFor(() => expect(removes).toHaveBeenCalled());
    elsewhere.subscribe(2, "public:news");
    await vi.waitFor(() => expect(saves).toHaveBeenCalled());
    open();
    await untilHeard(edge, 1, "reply");
    elsewhere.open(5, { userId: "u1", tokenId: "t-new" }, { connectionId: "c-5", awaitsResume: true });
    elsewhere.request(5, { $case: "resume", value: { resumeToken, positions: {} } });
    await untilHeard(elsewhere, 5, "error 6");
  });

  it("that share the token of the one that asks are ended without revoking it", async () => {
    elsewhere.open(6, { userId: "u1", tokenId: "t-phone" }, { connectionId: "c-tab" });
    await untilHeard(elsewhere, 6, "subscribed user:u1");
    endDevice(sessionOf(elsewhere, 6).sessionId);
    await vi.waitFor(() => expect(closes(elsewhere)).toEqual([[6, 4203]]));
    expect(closes(edge)).toEqual([]);
    expect(core.fanout.tokens.revocations.size).toBe(0);
  });

  it("are closed by the next save of their home where the word of their end is lost", async () => {
    elsewhere.open(6, { userId: "u1", tokenId: "t-phone" }, { connectionId: "c-tab" });
    await untilHeard(elsewhere, 6, "subscribed user:u1");
    const tells = vi.spyOn(core.broker, "tell").mockResolvedValue();
    endDevice(sessionOf(elsewhere, 6).sessionId);
    await untilHeard(edge, 1, "reply");
    expect([tells.mock.calls.length, closes(elsewhere)]).toEqual([1, []]);
    elsewhere.subscribe(6, "public:news");
    await vi.waitFor(() => expect(closes(elsewhere)).toEqual([[6, 4203]]));
  });

  it("may be one's own: answered first, then closed", async () => {
    endDevice(sessionOf(edge, 1).sessionId);
    await vi.waitFor(() => expect(closes(edge)).toEqual([[1, 4203]]));
    const words = edge.items.map(({ $case }) => $case);
    expect(edge.heard(1).at(-1)).toBe("reply");
    expect(words.lastIndexOf("frame")).toBeLessThan(words.lastIndexOf("close"));
    expect(closes(elsewhere)).toEqual([]);
  });

  it.each([
    ["another user's", () => sessionOf(edge, 3).sessionId, "error 4"],
    ["nobody's", () => "s-unknown", "error 4"],
    ["no id", () => "", "error 3"],
    ["an endless id", () => "x".repeat(129), "error 3"],
  ])("are one's own: %s is refused", async (_whose, sessionId, word) => {
    endDevice(sessionId());
    await untilHeard(edge, 1, word);
    expect([closes(edge), closes(elsewhere)]).toEqual([[], []]);
  });

  it("are known no more while the store is away", async () => {
    vi.spyOn(core.registry, "ofUser").mockRejectedValue(new Error("away"));
    edge.request(1, { $case: "listDevices", value: {} });
    await untilHeard(edge, 1, "error 11");
    vi.restoreAllMocks();
  });
});

describe("nobody's session", () => {
  beforeEach(async () => {
    edge.open(7, { userId: "anonymous-1", role: "anonymous" }, { connectionId: "c-7" });
    await untilHeard(edge, 7, "welcome");
  });

  it("has no channel of its own, no resume token and no devices", async () => {
    edge.request(7, { $case: "listDevices", value: {} });
    edge.request(7, { $case: "endDevice", value: { sessionId: sessionOf(edge, 1).sessionId } });
    await vi.waitFor(() => expect(edge.heard(7)).toEqual(["welcome", "error 2", "error 2"]));
    expect(sessionOf(edge, 7)).toMatchObject({ resumeToken: "", role: "anonymous", tokenExpiresAtMs: 0 });
    expect(core.resumables.size).toBe(2);
  });

  it("follows public channels and no others, as everybody does, and publishes nowhere", async () => {
    edge.subscribe(7, "public:news");
    edge.subscribe(1, "public:news");
    await untilHeard(edge, 7, "subscribed public:news");
    await untilHeard(edge, 1, "subscribed public:news");
    for (const channel of ["user:anonymous-1", "order:42", "user:u1"]) edge.subscribe(7, channel);
    for (const session of [1, 7]) {
      const value = { channel: "public:news", type: "note", data: undefined };
      edge.request(session, { $case: "custom", value });
    }
    await vi.waitFor(() => expect(edge.heard(7).slice(2)).toEqual(Array(4).fill("error 2")));
    await untilHeard(edge, 1, "error 2");
  });

  it("lives on at another home, and says nothing there", async () => {
    edge.subscribe(7, "public:news");
    await untilHeard(edge, 7, "subscribed public:news");
    edge.say({ $case: "release", value: { session: 7 } });
    await vi.waitFor(() => expect(edge.itemsOf("released")).toHaveLength(1));
    const { state } = edge.itemsOf("released")[0] ?? { state: new Uint8Array(0) };
    elsewhere.open(7, { userId: "anonymous-1", role: "anonymous" }, { state, connectionId: "c-7" });
    await vi.waitFor(() =>
      expect(elsewhere.itemsOf("join")).toContainEqual(expect.objectContaining({ session: 7 })),
    );
    expect(elsewhere.heard(7)).toEqual([]);
    expect(core.resumables.size).toBe(2);
  });
});
