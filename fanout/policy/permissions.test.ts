/**
 * The whole matrix, through real sessions on memory stores: each capability × each tie × each kind of channel ×
 * each operation, expected as the table says.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { Participation } from "#fanout/directory/directory.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore } from "#test/support/fanout-core.js";
import { PERMISSIONS, type Operation, type Tie } from "./policy.js";

type Body = NonNullable<ClientFrame["body"]>;

const ROLES = ["porter", "customer", "restaurant", "user", "admin", "anonymous"];
const TIES: readonly (Tie | "none" | "merchant by claim")[] = [
  "none",
  "owner",
  "assigned",
  "member",
  "merchant",
  "merchant by claim",
  "shared",
  "self",
];
const OPERATIONS: Readonly<Partial<Record<Operation, (channel: string) => Body>>> = {
  join: (channel) => ({ $case: "subscribe", value: { channel, after: undefined } }),
  publish: (channel) => ({ $case: "custom", value: { channel, type: "said", data: undefined } }),
  history: (channel) => ({
    $case: "history",
    value: { channel, from: undefined, backward: false, limit: 0 },
  }),
  presence: (channel) => ({
    $case: "presence",
    value: { subject: { $case: "channel", value: channel }, pageToken: "" },
  }),
};
const PERMISSION_DENIED = 2;
/** There are thousands of answers to wait for. */
const SOON = { timeout: 5000, interval: 1 };

let core: FanoutCore;
let edge: FakeEdge;
let sessions = 0;

beforeAll(() => {
  core = new FanoutCore();
  edge = core.edge();
});

afterAll(() => core.stop());

/** Ties the user to a channel of the kind; undefined where that cannot be. */
async function tied(kind: string, tie: (typeof TIES)[number], userId: string): Promise<Channel | undefined> {
  const channel = channelOf("default", kind, tie === "self" ? userId : `of-${userId}`);
  switch (tie) {
    case "none":
      return channel;
    case "self":
      return kind === "user" || kind === "presence" ? channel : undefined;
    case "shared":
      if (kind !== "presence") return undefined;
      for (const each of [userId, channel.id]) {
        await core.grant(channelOf("default", "group", `with-${userId}`), each, "member");
      }
      return channel;
    case "merchant by claim":
      await core.grant(channel, `merchant:of-${userId}`, "merchant");
      return channel;
    default:
      await core.grant(channel, userId, tie as Participation["relation"]);
      return channel;
  }
}

/** As the table has it. */
function isGranted(role: string, kind: string, tie: (typeof TIES)[number], operation: Operation): boolean {
  const who = role === "admin" || role === "anonymous" ? role : "named";
  const ties = PERMISSIONS[who][kind] ?? {};
  const held = new Set<string>(["any", tie]);
  if (tie === "merchant by claim" && role === "restaurant") held.add("merchant");
  // A merchant's restaurant may share a channel with a user, and any grant of somebody's presence is one.
  const isGrant = ["owner", "assigned", "member", "merchant"].some((relation) => held.has(relation));
  if (kind === "presence" && isGrant) held.add("shared");
  return Object.entries(ties).some(([name, may]) => held.has(name) && may[operation] === true);
}

/** Whether each operation was denied, in the order of the table. */
async function deniedIn(at: FakeEdge, session: number, channel: Channel): Promise<readonly boolean[]> {
  const denied: boolean[] = [];
  for (const bodyOf of Object.values(OPERATIONS)) {
    const answered = at.framesOf(session).filter(({ replyTo }) => replyTo !== 0).length;
    at.request(session, bodyOf(channel.name));
    await vi.waitFor(() => {
      const answer = at.framesOf(session).filter(({ replyTo }) => replyTo !== 0)[answered]?.body;
      expect(answer).toBeDefined();
      denied.push(answer?.$case === "error" && answer.value.code === PERMISSION_DENIED);
    }, SOON);
  }
  return denied;
}

describe.each(ROLES)("as %s", (role) => {
  describe.each(TIES)("tied by %s", (tie) => {
    it.each([...CHANNEL_KINDS.keys()])("in a channel of the kind %s", async (kind) => {
      sessions += 1;
      const session = sessions;
      const userId = `u${session}`;
      const channel = await tied(kind, tie, userId);
      if (channel === undefined) return;
      edge.open(session, { userId, role, claimsJson: JSON.stringify({ restaurant: `of-${userId}` }) });
      for (const [operation, bodyOf] of Object.entries(OPERATIONS) as [
        Operation,
        (channel: string) => Body,
      ][]) {
        const answered = edge.framesOf(session).filter(({ replyTo }) => replyTo !== 0).length;
        edge.request(session, bodyOf(channel.name));
        const answer = await vi.waitFor(() => {
          const answers = edge.framesOf(session).filter(({ replyTo }) => replyTo !== 0);
          expect(answers).toHaveLength(answered + 1);
          return answers.at(-1)?.body;
        }, SOON);
        const isDenied = answer?.$case === "error" && answer.value.code === PERMISSION_DENIED;
        const areMembersKept = CHANNEL_KINDS.get(kind)?.members !== "unknown";
        // Anything else than a denial or success is neither; but who is there is not kept of every kind.
        if (!isDenied && (operation !== "presence" || areMembersKept))
          expect(answer?.$case, `${operation} ${channel.name}`).not.toBe("error");
        expect(!isDenied, `${operation} ${channel.name}`).toBe(isGranted(role, kind, tie, operation));
      }
    });
  });
});

describe("a part that ends", () => {
  const KINDS = ["order", "ride", "booking", "conversation", "group", "notification", "presence"];

  it.each(KINDS)("unsubscribes its followers of the kind %s at once, and tells them why", async (kind) => {
    sessions += 1;
    const session = sessions;
    const userId = `u${session}`;
    const channel = channelOf("default", kind, `of-${userId}`);
    await core.grant(channel, userId, "member");
    edge.open(session, { userId });
    edge.subscribe(session, channel.name);
    await vi.waitFor(() => expect(edge.heard(session)).toContain(`subscribed ${channel.name}`));
    await core.participations.end(channel, userId);
    await vi.waitFor(() => expect(edge.heard(session)).toContain(`unsubscribed ${channel.name}`));
    expect(edge.framesOf(session).at(-1)?.body).toMatchObject({ value: { reason: 2 } });
  });

  const COMES_BACK = ["by a resume elsewhere", "at another home"] as const;

  describe.each(COMES_BACK)("while its user comes back %s", (how) => {
    it.each(KINDS)("is over there in a channel of the kind %s, and another one counts", async (kind) => {
      const elsewhere = core.edgeElsewhere();
      sessions += 1;
      const session = sessions;
      const userId = `u${session}`;
      const channel = channelOf("default", kind, `of-${userId}`);
      await core.grant(channel, userId, "member");
      edge.open(session, { userId }, { connectionId: `c-${userId}` });
      edge.subscribe(session, channel.name);
      await vi.waitFor(() => expect(edge.heard(session)).toContain(`subscribed ${channel.name}`), SOON);
      if (how === "at another home") {
        edge.say({ $case: "release", value: { session } });
        const state = await vi.waitFor(() => {
          const released = edge.itemsOf("released").find((each) => each.session === session);
          expect(released).toBeDefined();
          return released?.state ?? new Uint8Array();
        }, SOON);
        await core.participations.end(channel, userId);
        // The frame that brought it in is the first.
        elsewhere.open(session, { userId }, { connectionId: `c-${userId}`, state, nextUpSequence: 2 });
      } else {
        const welcome = edge.framesOf(session)[0]?.body;
        const resumeToken = welcome?.$case === "welcome" ? welcome.value.resumeToken : "";
        edge.say({ $case: "close", value: { session, reason: "client" } });
        await core.participations.end(channel, userId);
        elsewhere.open(session, { userId }, { connectionId: `d-${userId}`, awaitsResume: true });
        elsewhere.request(session, { $case: "resume", value: { resumeToken, positions: {} } });
      }
      await vi.waitFor(() => {
        expect(elsewhere.heard(session)).toContain(`unsubscribed ${channel.name}`);
      }, SOON);
      expect(new Set(await deniedIn(elsewhere, session, channel))).toEqual(new Set([true]));
      await core.grant(channel, userId, "member");
      const expected = (Object.keys(OPERATIONS) as Operation[]).map(
        (operation) => !isGranted("customer", kind, "member", operation),
      );
      expect(await deniedIn(elsewhere, session, channel)).toEqual(expected);
    });
  });

  it("ends what was watched by what two users shared, whichever of them leaves it", async () => {
    for (const leaver of ["watcher", "watched"]) {
      sessions += 1;
      const session = sessions;
      const names = { watcher: `w${session}`, watched: `o${session}` };
      const group = channelOf("default", "group", `g${session}`);
      for (const userId of Object.values(names)) await core.grant(group, userId, "member");
      edge.open(session, { userId: names.watcher });
      edge.subscribe(session, `presence:${names.watched}`);
      const name = `presence:${names.watched}`;
      await vi.waitFor(() => expect(edge.heard(session)).toContain(`subscribed ${name}`));
      await core.participations.end(group, leaver === "watcher" ? names.watcher : names.watched);
      await vi.waitFor(() => expect(edge.heard(session)).toContain(`unsubscribed ${name}`));
    }
  });
});
