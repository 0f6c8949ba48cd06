import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { Principal, type OpenSession } from "#proto/gen/realtime/link/v1/link.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { PartUnknownError } from "#fanout/directory/directory.js";
import { comeBack, heardOf, leave, tokenOf, untilHeard, untilResumed } from "#test/support/coming-back.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate, order } from "#test/support/fanout-core.js";
import { MAX_OWN_CHANNELS } from "./own-following.js";

let core: FanoutCore;
let edge: FakeEdge;

beforeEach(() => {
  core = new FanoutCore();
  edge = core.edge();
});

afterEach(() => core.stop());

const named = (name: string): Channel => channelOf("default", ...(name.split(":", 2) as [string, string]));
const OWN = { followOwn: true };
const open = (session: number, userId: string, more: Partial<OpenSession> = OWN): void =>
  edge.open(session, { userId }, more);
/** What is heard from now on comes behind everything before. */
async function settled(session: number): Promise<void> {
  const answers = edge.heard(session).filter((word) => word === "pong").length;
  edge.request(session, { $case: "ping", value: { clientTimeMs: 0 } });
  await vi.waitFor(() =>
    expect(edge.heard(session).filter((word) => word === "pong")).toHaveLength(answers + 1),
  );
}

describe("a session that asked for what is its user's", () => {
  it("follows it all from its beginning, unasked, and hears what comes", async () => {
    const names = ["order:1", "ride:2", "booking:3", "conversation:4", "group:5", "notification:6"];
    for (const name of names) await core.grant(named(name), "u1", "member");
    await core.grant(named("presence:u2"), "u1", "member");
    await core.grant(order("9"), "u2");
    open(1, "u1");
    for (const name of names) await untilHeard(edge, 1, `subscribed ${name}`);
    expect(edge.framesOf(1).every(({ replyTo }) => replyTo === 0)).toBe(true);
    await core.publish(order("1"));
    await untilHeard(edge, 1, "orderStatus 1");
    const followed = edge.heard(1).filter((word) => word.startsWith("subscribed"));
    expect(followed.sort()).toEqual(["user:u1", ...names].map((name) => `subscribed ${name}`).sort());
  });

  it("is asked for by nobody else", async () => {
    await core.grant(order("1"), "u1");
    open(1, "u1", {});
    await untilHeard(edge, 1, "subscribed user:u1");
    await core.grant(order("2"), "u1");
    open(2, "u1");
    await untilHeard(edge, 2, "subscribed order:2");
    expect(edge.heard(1)).toEqual(["welcome", "subscribed user:u1"]);
  });

  it("is brought into what is granted later, with what was said before anybody could follow", async () => {
    open(1, "u1");
    await untilHeard(edge, 1, "subscribed user:u1");
    const conversation = named("conversation:c1");
    await core.directory.grant({
      channel: conversation,
      userId: "u1",
      relation: "member",
      expiresAtMs: 2 ** 50,
    });
    await core.publish(conversation);
    await core.grant(conversation, "u1", "member");
    await untilHeard(edge, 1, "orderStatus 1");
    await core.publish(conversation);
    await untilHeard(edge, 1, "orderStatus 2");
    // Beside it hears that it has joined.
    const heard = heardOf(edge, 1, "conversation:c1").filter((word) => word !== "0");
    expect(heard).toEqual(["recovered after 0", "1", "2"]);
  });

  it("leaves with the reason when its part ends, and comes back with another grant", async () => {
    await core.grant(order("1"), "u1");
    open(1, "u1");
    await untilHeard(edge, 1, "subscribed order:1");
    await core.participations.end(order("1"), "u1");
    await untilHeard(edge, 1, "unsubscribed order:1");
    expect(heardOf(edge, 1, "order:1").at(-1)).toBe("ended 2");
    await core.grant(order("1"), "u1");
    await vi.waitFor(() => expect(heardOf(edge, 1, "order:1")).toHaveLength(3));
  });

  it("is not brought in again where it unsubscribed, until the part has ended", async () => {
    await core.grant(order("1"), "u1");
    open(1, "u1");
    await untilHeard(edge, 1, "subscribed order:1");
    edge.request(1, { $case: "unsubscribe", value: { channel: "order:1" } });
    await untilHeard(edge, 1, "unsubscribed order:1");
    await core.grant(order("2"), "u1");
    await untilHeard(edge, 1, "subscribed order:2");
    expect(heardOf(edge, 1, "order:1")).toEqual(["lost after 0", "ended 1"]);
    await core.participations.end(order("1"), "u1");
    await core.grant(order("3"), "u1");
    await untilHeard(edge, 1, "subscribed order:3");
    await core.grant(order("1"), "u1");
    await vi.waitFor(() => expect(heardOf(edge, 1, "order:1")).toHaveLength(3));
  });

  it("gets one answer where it subscribes at the same time", async () => {
    await core.grant(order("1"), "u1");
    open(1, "u1");
    edge.subscribe(1, "order:1");
    await settled(1);
    await vi.waitFor(() =>
      expect(
        edge.framesOf(1).filter(({ replyTo, body }) => replyTo === 1 && body?.$case === "subscribed"),
      ).toHaveLength(1),
    );
    await core.publish(order("1"));
    await untilHeard(edge, 1, "orderStatus 1");
    await settled(1);
    expect(edge.heard(1).filter((word) => word === "orderStatus 1")).toHaveLength(1);
  });

  it("follows the newest of too many, and is told that there are more", async () => {
    for (let index = 0; index < MAX_OWN_CHANNELS + 3; index++) await core.grant(order(`o${index}`), "u1");
    open(1, "u1");
    await untilHeard(edge, 1, "error 7");
    const followed = edge.heard(1).filter((word) => word.startsWith("subscribed order:"));
    expect(followed).toHaveLength(MAX_OWN_CHANNELS);
    expect(followed).toContain(`subscribed order:o${MAX_OWN_CHANNELS + 2}`);
    for (const index of [0, 1, 2]) expect(followed).not.toContain(`subscribed order:o${index}`);
    await core.grant(order("later"), "u1");
    await untilHeard(edge, 1, "subscribed order:later");
    expect(edge.heard(1).filter((word) => word === "error 7")).toHaveLength(1);
  });

  it("does not wait for one of which nobody knows, and is brought into it once it is known", async () => {
    for (const id of ["1", "2", "3"]) await core.grant(order(id), "u1");
    const { participation } = core.directory;
    let isKnown = false;
    vi.spyOn(core.directory, "participation").mockImplementation(async (channel, userId) => {
      if (channel.id === "3" && !isKnown) throw new PartUnknownError();
      return participation.call(core.directory, channel, userId);
    });
    open(1, "u1");
    for (const id of ["1", "2"]) await untilHeard(edge, 1, `subscribed order:${id}`);
    isKnown = true;
    await vi.waitFor(() => expect(edge.heard(1)).toContain("subscribed order:3"), { timeout: 5000 });
  });

  it("is brought in when the store is back", async () => {
    await core.grant(order("1"), "u1");
    vi.spyOn(core.directory, "recordOfUser").mockRejectedValueOnce(new GatewayError("unavailable", "away"));
    open(1, "u1");
    await vi.waitFor(() => expect(edge.heard(1)).toContain("subscribed order:1"), { timeout: 5000 });
  });
});

describe("a merchant's session", () => {
  const merchant = (session: number, claims: object, role = "merchant"): void =>
    edge.open(session, { userId: `m${session}`, role, claimsJson: JSON.stringify(claims) }, OWN);

  /** The first session goes on with another token. */
  async function refresh(checking: FakeEdge, next: Partial<Principal>): Promise<void> {
    const said = { deviceId: "", platform: "", userType: "", resumes: false, followOwn: false };
    checking.request(1, { $case: "authenticate", value: { token: "jwt", ...said } });
    const request = await vi.waitFor(() => {
      const [asked] = checking.itemsOf("verify");
      if (asked === undefined) throw new Error("the edge was not asked");
      return asked;
    });
    const value = Principal.fromPartial({ app: "default", ...next });
    const result = { $case: "principal", value } as const;
    checking.say({ $case: "verified", value: { session: 1, upSequence: request.upSequence, result } });
  }

  it("follows the orders of the restaurant that its token names, and no other's", async () => {
    await core.grant(order("1"), "merchant:r1", "merchant");
    await core.grant(order("2"), "merchant:r2", "merchant");
    merchant(1, { restaurant: "r1" });
    merchant(2, { restaurant: "r1" }, "customer");
    await untilHeard(edge, 1, "subscribed order:1");
    await core.grant(order("3"), "merchant:r1", "merchant");
    await untilHeard(edge, 1, "subscribed order:3");
    await core.participations.end(order("1"), "merchant:r1");
    await untilHeard(edge, 1, "unsubscribed order:1");
    edge.subscribe(1, "order:2");
    await untilHeard(edge, 1, "error 2");
    edge.subscribe(2, "order:1");
    await untilHeard(edge, 2, "error 2");
    expect(edge.heard(2)).toEqual(["welcome", "subscribed user:m2", "error 2"]);
  });

  it("is not left in a channel that it was on its way into by the restaurant of the token before", async () => {
    await core.grant(order("1"), "merchant:r1", "merchant");
    const store = gate();
    const read = core.directory.participation.bind(core.directory);
    const reads = vi.spyOn(core.directory, "participation").mockImplementation(async (...asked) => {
      const part = await read(...asked);
      await store.opened;
      return part;
    });
    const checking = core.checkingEdge();
    const principal = { userId: "m1", role: "merchant" };
    checking.open(1, { ...principal, claimsJson: '{"restaurant":"r1"}' }, OWN);
    await vi.waitFor(() => expect(reads).toHaveBeenCalled());
    await refresh(checking, { ...principal, claimsJson: '{"restaurant":"r2"}' });
    await untilHeard(checking, 1, "reply");
    store.open();
    await core.grant(order("2"), "merchant:r2", "merchant");
    await untilHeard(checking, 1, "subscribed order:2");
    expect(checking.heard(1)).not.toContain("subscribed order:1");
  });

  it("goes on with the restaurant of another token", async () => {
    const checking = core.checkingEdge();
    for (const id of ["1", "2"]) await core.grant(order(id), `merchant:r${id}`, "merchant");
    const principal = { userId: "m1", role: "merchant" };
    checking.open(1, { ...principal, claimsJson: '{"restaurant":"r1"}' }, OWN);
    await untilHeard(checking, 1, "subscribed order:1");
    await refresh(checking, { ...principal, claimsJson: '{"restaurant":"r2"}' });
    await untilHeard(checking, 1, "unsubscribed order:1");
    await untilHeard(checking, 1, "subscribed order:2");
    await core.grant(order("3"), "merchant:r1", "merchant");
    await core.grant(order("4"), "merchant:r2", "merchant");
    await untilHeard(checking, 1, "subscribed order:4");
    expect(checking.heard(1)).not.toContain("subscribed order:3");
  });

  it("publishes in them", async () => {
    await core.grant(order("1"), "merchant:77", "merchant");
    merchant(1, { restaurant: 77 });
    edge.request(1, { $case: "custom", value: { channel: "order:1", type: "ready", data: undefined } });
    await untilHeard(edge, 1, "reply");
  });
});

describe("a session that comes back or moves", () => {
  it("is brought into what was granted meanwhile, and hears what it missed of the rest once", async () => {
    await core.grant(order("1"), "u1");
    open(1, "u1");
    await untilHeard(edge, 1, "subscribed order:1");
    const resumeToken = tokenOf(edge, 1);
    await leave(edge, 1);
    await core.publish(order("1"));
    await core.grant(order("2"), "u1");
    await core.publish(order("2"));
    const positions = { "order:1": { epoch: "", offset: 0, tag: 0 } };
    comeBack(edge, 2, { userId: "u1", resumeToken, positions, open: OWN });
    await untilResumed(edge, 2);
    await vi.waitFor(() => expect(heardOf(edge, 2, "order:2")).toEqual(["recovered after 0", "1"]));
    expect(heardOf(edge, 2, "order:1")).toEqual(["recovered after 0", "1"]);
  });

  it("is still told of grants and ends at its next home, and what it left stays left", async () => {
    for (const id of ["1", "2"]) await core.grant(order(id), "u1");
    open(1, "u1");
    for (const id of ["1", "2"]) await untilHeard(edge, 1, `subscribed order:${id}`);
    edge.request(1, { $case: "unsubscribe", value: { channel: "order:2" } });
    await untilHeard(edge, 1, "unsubscribed order:2");
    const state = edge.itemsOf("state").at(-1)?.state ?? new Uint8Array();
    const next = core.edgeElsewhere();
    next.open(1, { userId: "u1" }, { ...OWN, state, connectionId: "connection-1", nextUpSequence: 2 });
    await core.grant(order("3"), "u1");
    await untilHeard(next, 1, "subscribed order:3");
    await core.participations.end(order("1"), "u1");
    await untilHeard(next, 1, "unsubscribed order:1");
    expect(next.heard(1)).toEqual(["subscribed order:3", "unsubscribed order:1"]);
  });
});
