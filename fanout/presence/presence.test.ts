import { afterEach, describe, expect, it, vi } from "vitest";
import type { PresenceUpdate } from "#proto/gen/realtime/client/v1/event.js";
import type { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, order } from "#test/support/fanout-core.js";

let core: FanoutCore;
let edge: FakeEdge;

function start(settings: ConstructorParameters<typeof FanoutCore>[0] = {}): void {
  core = new FanoutCore(settings);
  edge = core.edge();
}

afterEach(() => core.stop());

const group = channelOf("default", "group", "g1");

async function untilHeard(session: number, word: string, at = edge): Promise<void> {
  await vi.waitFor(() => expect(at.heard(session)).toContain(word));
}

async function open(session: number, userId: string, role = "customer", at = edge): Promise<void> {
  at.open(session, { userId, role });
  await untilHeard(session, `subscribed user:${userId}`, at);
}

async function follow(session: number, channel: Channel | string): Promise<void> {
  const name = typeof channel === "string" ? channel : channel.name;
  edge.subscribe(session, name);
  await untilHeard(session, `subscribed ${name}`);
}

async function share(...userIds: readonly string[]): Promise<void> {
  for (const userId of userIds) await core.grant(group, userId, "member");
}

function close(session: number): void {
  edge.say({ $case: "close", value: { session, reason: "client" } });
}

/** What a session heard of a user's presence, with what it was shown at first. */
function seen(session: number, userId: string): readonly PresenceUpdate[] {
  return edge.framesOf(session).flatMap(({ body }) => {
    const events =
      body?.$case === "event" ? [body.value] : body?.$case === "subscribed" ? body.value.latest : [];
    return events.flatMap((event) =>
      event.body?.$case === "presence" && event.body.value.userId === userId ? [event.body.value] : [],
    );
  });
}

/** "u2 joined", … */
function told(session: number): readonly string[] {
  return edge.framesOf(session).flatMap(({ body }) => {
    if (body?.$case !== "event" || body.value.body?.$case !== "membership") return [];
    const { userId, joined } = body.value.body.value;
    return [`${userId} ${joined ? "joined" : "left"}`];
  });
}

type Body = NonNullable<ServerFrame["body"]>;

async function ask(session: number, body: Parameters<FakeEdge["request"]>[1]): Promise<Body> {
  const before = edge.framesOf(session).length;
  edge.request(session, body);
  return vi.waitFor(() => {
    const answer = edge
      .framesOf(session)
      .slice(before)
      .find(({ replyTo }) => replyTo !== 0)?.body;
    if (answer === undefined) throw new Error("no answer yet");
    return answer;
  });
}

const askUser = (session: number, userId: string): Promise<Body> =>
  ask(session, { $case: "presence", value: { subject: { $case: "userId", value: userId }, pageToken: "" } });
const askChannel = (session: number, channel: string, pageToken = ""): Promise<Body> =>
  ask(session, { $case: "presence", value: { subject: { $case: "channel", value: channel }, pageToken } });
const pageOf = (body: Body) => {
  if (body.$case !== "presencePage") throw new Error(`no page but ${JSON.stringify(body)}`);
  return body.value;
};
const denied = { $case: "error", value: { code: 2 } };

describe("watching a user", () => {
  it("shows whether they are there, and when that changes, over all their devices", async () => {
    start({ presence: { graceMs: 0 } });
    await share("u1", "watcher");
    await open(1, "watcher");
    await follow(1, "presence:u1");
    expect(seen(1, "u1")).toEqual([{ userId: "u1", online: false, lastSeenMs: 0, available: undefined }]);
    await open(2, "u1");
    await vi.waitFor(() => expect(seen(1, "u1")).toHaveLength(2));
    await open(3, "u1");
    close(2);
    close(3);
    await vi.waitFor(() => expect(seen(1, "u1")).toHaveLength(3));
    expect(seen(1, "u1").map(({ online }) => online)).toEqual([false, true, false]);
    expect(Math.abs((seen(1, "u1").at(-1)?.lastSeenMs ?? 0) - Date.now())).toBeLessThan(5_000);
  });

  it("shows the present value to who comes later", async () => {
    start();
    await share("u1", "watcher");
    await open(2, "u1");
    await open(1, "watcher");
    await vi.waitFor(async () => expect(await core.presence.countOnline("default")).toBe(2));
    await follow(1, "presence:u1");
    expect(seen(1, "u1").at(-1)).toMatchObject({ online: true, lastSeenMs: 0 });
  });

  it("shows the present value also where others watch and nothing has changed for hours", async () => {
    start();
    await share("u1", "watcher", "later");
    await open(2, "u1");
    await open(1, "watcher");
    await follow(1, "presence:u1");
    await vi.waitFor(() => expect(seen(1, "u1").at(-1)).toMatchObject({ online: true }));
    const now = performance.now.bind(performance);
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + 2 * 3_600_000);
    await open(3, "later");
    await follow(3, "presence:u1");
    clock.mockRestore();
    expect(seen(3, "u1")).toMatchObject([{ online: true }]);
  });

  it("is refused to strangers, and allowed to oneself, to admins, and to who was granted it", async () => {
    start();
    await share("u1");
    await open(1, "stranger");
    edge.subscribe(1, "presence:u1");
    await untilHeard(1, "error 2");
    await open(2, "u1");
    await follow(2, "presence:u1");
    await open(3, "boss", "admin");
    await follow(3, "presence:u1");
    await core.grant(channelOf("default", "presence", "u1"), "friend", "member");
    await open(4, "friend");
    await follow(4, "presence:u1");
  });

  it("is for everybody in the app where it is configured so", async () => {
    start({ presence: { visibility: "app" } });
    await open(1, "stranger");
    await follow(1, "presence:u1");
    expect(pageOf(await askUser(1, "u1")).users).toMatchObject([{ userId: "u1", online: false }]);
  });

  it.each(["u1", "watcher"])("ends when %s is no more in the channel that both shared", async (who) => {
    start();
    await share("u1", "watcher");
    await open(1, "watcher");
    await follow(1, "presence:u1");
    await core.participations.end(group, who);
    await untilHeard(1, "unsubscribed presence:u1");
  });

  it("goes on while both share another channel", async () => {
    start();
    await share("u1", "watcher");
    for (const userId of ["u1", "watcher"]) await core.grant(order("42"), userId);
    await open(1, "watcher");
    await follow(1, "presence:u1");
    const versions = vi.spyOn(core.directory, "recordOfUser");
    await core.participations.end(group, "u1");
    await vi.waitFor(() => expect(versions).toHaveBeenCalledWith("default", "u1"));
    await open(2, "u1");
    await vi.waitFor(() => expect(seen(1, "u1").at(-1)).toMatchObject({ online: true }));
    expect(edge.heard(1)).not.toContain("unsubscribed presence:u1");
  });
});

describe("a session that moves to another home", () => {
  it("is not seen to move, by watchers or members", async () => {
    start({ presence: { graceMs: 0 } });
    await share("u1", "watcher");
    await open(1, "watcher");
    await follow(1, "presence:u1");
    await follow(1, group);
    await open(2, "u1");
    await follow(2, group);
    await vi.waitFor(() => expect(told(1)).toContain("u1 joined"));
    const state = edge.itemsOf("state").findLast(({ session }) => session === 2)?.state;
    const before = await core.presence.presences("default", ["u1"]);
    edge.say({ $case: "release", value: { session: 2 } });
    const next = core.edgeElsewhere();
    next.open(2, { userId: "u1" }, { ...(state && { state }), nextUpSequence: 2 });
    await vi.waitFor(() => expect(next.itemsOf("join")).toHaveLength(2));
    next.request(2, { $case: "ping", value: { clientTimeMs: 1 } });
    await untilHeard(2, "pong", next);
    expect(await core.presence.presences("default", ["u1"])).toEqual(before);
    expect(seen(1, "u1").filter(({ online }) => !online)).toHaveLength(1);
    expect(told(1).filter((word) => word.startsWith("u1"))).toEqual(["u1 joined"]);
    // It is the new home's now: only its end there is an end.
    next.say({ $case: "close", value: { session: 2, reason: "client" } });
    await vi.waitFor(() => expect(told(1)).toContain("u1 left"));
    await vi.waitFor(() => expect(seen(1, "u1").at(-1)).toMatchObject({ online: false }));
  });
});

describe("the members of a channel", () => {
  it("are told who joins, and who unsubscribes at once", async () => {
    start();
    await share("u1", "u2");
    await open(1, "u1");
    await follow(1, group);
    await open(2, "u2");
    await follow(2, group);
    await vi.waitFor(() => expect(told(1)).toEqual(["u1 joined", "u2 joined"]));
    edge.request(2, { $case: "unsubscribe", value: { channel: group.name } });
    await vi.waitFor(() => expect(told(1)).toEqual(["u1 joined", "u2 joined", "u2 left"]));
  });

  it("hear nothing of one who loses the connection and is back within the grace", async () => {
    start();
    await share("u1", "u2", "u3");
    await open(1, "u1");
    await follow(1, group);
    await open(2, "u2");
    await follow(2, group);
    await vi.waitFor(() => expect(told(1)).toHaveLength(2));
    close(2);
    await vi.waitFor(() => expect(core.fanout.sessions).toBe(1));
    edge.open(3, { userId: "u2" }, { connectionId: "another" });
    await untilHeard(3, "subscribed user:u2");
    await follow(3, group);
    await open(4, "u3");
    await follow(4, group);
    await vi.waitFor(() => expect(told(1)).toEqual(["u1 joined", "u2 joined", "u3 joined"]));
  });

  it("are listed in pages with their presence, each user once", async () => {
    start();
    const userIds = Array.from({ length: 150 }, (_, index) => `u${String(index).padStart(3, "0")}`);
    await share("watcher");
    await open(1, "watcher");
    for (const userId of userIds) {
      await core.presence.join({
        app: "default",
        channel: group,
        userId,
        connectionId: `connection of ${userId}`,
        sessionId: userId,
        generation: 1,
        place: "elsewhere",
      });
    }
    const first = pageOf(await askChannel(1, group.name));
    expect(first).toMatchObject({ total: 150 });
    expect(first.users).toHaveLength(100);
    const second = pageOf(await askChannel(1, group.name, first.nextPageToken));
    expect(second.nextPageToken).toBe("");
    expect([...first.users, ...second.users].map(({ userId }) => userId)).toEqual(userIds);
  });

  it("are listed in orders too, and told to nobody there", async () => {
    start();
    await core.grant(order("42"), "u1");
    await open(1, "u1");
    await follow(1, order("42"));
    await vi.waitFor(async () => {
      const page = pageOf(await askChannel(1, "order:42"));
      expect(page).toMatchObject({ users: [{ userId: "u1", online: true }], total: 1 });
    });
    expect(told(1)).toEqual([]);
  });

  it.each<[string, string, number]>([
    ["of a channel that is not theirs", "group:g2", 2],
    ["of a kind that has none", "user:u1", 3],
    ["of a kind that is not", "planet:1", 4],
    ["of no channel", "nonsense", 3],
  ])("are refused where somebody asks for those %s", async (_what, channel, code) => {
    start();
    await open(1, "u1");
    expect(await askChannel(1, channel)).toMatchObject({ $case: "error", value: { code } });
  });

  it("are refused with a page token that was none", async () => {
    start();
    await share("u1");
    await open(1, "u1");
    for (const token of ["{}", "a b", "x".repeat(3_000)]) {
      const answer = await askChannel(1, group.name, token);
      expect(answer).toMatchObject({ $case: "error", value: { code: 3, field: "presence.page_token" } });
    }
  });
});

describe("asking about a user", () => {
  it("answers who may watch them, and nobody else", async () => {
    start();
    await share("u1", "watcher");
    await open(1, "watcher");
    await open(2, "u1");
    await open(3, "stranger");
    await vi.waitFor(async () => {
      expect(pageOf(await askUser(1, "u1"))).toMatchObject({
        users: [{ userId: "u1", online: true }],
        total: 1,
      });
    });
    expect(await askUser(3, "u1")).toMatchObject(denied);
    expect(await askUser(1, "not an id")).toMatchObject({ value: { code: 3, field: "presence.user_id" } });
    const nobody = await ask(1, { $case: "presence", value: { pageToken: "" } });
    expect(nobody).toMatchObject({ value: { code: 3, field: "presence.subject" } });
  });
});

describe("availability", () => {
  it("is said by workers, seen by who watches them, and refused from others", async () => {
    start();
    await share("p1", "watcher");
    await open(1, "watcher");
    await open(2, "p1", "porter");
    await follow(1, "presence:p1");
    expect(await ask(2, { $case: "availability", value: { available: true } })).toMatchObject({
      $case: "reply",
    });
    await vi.waitFor(() => expect(seen(1, "p1").at(-1)).toMatchObject({ online: true, available: true }));
    const position = { latitude: 1, longitude: 2, timestampMs: 0, orderId: "", available: false };
    await ask(2, { $case: "locationUpdate", value: position });
    await vi.waitFor(() => expect(seen(1, "p1").at(-1)).toMatchObject({ online: true, available: false }));
    expect(await ask(1, { $case: "availability", value: { available: true } })).toMatchObject(denied);
  });
});
