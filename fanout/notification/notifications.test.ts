/** Notifications on a fanout core: who is reached, what is seen on which device, and when their time is over. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { Notification, type NotificationsSeen, type Position } from "#proto/gen/realtime/client/v1/event.js";
import type { UnseenNotifications } from "#proto/gen/realtime/client/v1/server_frame.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import { comeBack, leave, tokenOf, untilHeard, untilResumed } from "#test/support/coming-back.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, order } from "#test/support/fanout-core.js";
import { everyoneChannel, roleChannel } from "./broadcast-channels.js";

const ANN = userChannel("default", "ann");
const PORTERS = roleChannel("default", "porter");
const EVERYONE = everyoneChannel("default");

let core: FanoutCore;
let here: FakeEdge;
let there: FakeEdge;
beforeEach(() => {
  core = new FanoutCore({ followBroadcasts: true });
  here = core.edge();
  there = core.edgeElsewhere();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await core.stop();
});

const until = (expectation: () => unknown) => vi.waitFor(expectation, { timeout: 5_000, interval: 5 });

async function open(edge: FakeEdge, session: number, userId: string, role = "customer"): Promise<void> {
  edge.open(session, { userId, role });
  await untilHeard(edge, session, "subscribed everyone:all");
}

function notify(channel: Channel, notificationId: string, expiresAtMs = 0): Promise<void> {
  const value = Notification.fromPartial({ notificationId, expiresAtMs });
  return core.publish(channel, { $case: "notification", value });
}

/** The ids of the notifications that a socket was given. */
function given(edge: FakeEdge, session: number): string[] {
  return edge.framesOf(session).flatMap(({ body }) => {
    const event = body?.$case === "event" ? body.value.body : undefined;
    return event?.$case === "notification" ? [event.value.notificationId] : [];
  });
}

function seenTold(edge: FakeEdge, session: number): NotificationsSeen[] {
  return edge.framesOf(session).flatMap(({ body }) => {
    const event = body?.$case === "event" ? body.value.body : undefined;
    return event?.$case === "notificationsSeen" ? [event.value] : [];
  });
}

type ClientBody = Parameters<FakeEdge["request"]>[1];

async function ask(edge: FakeEdge, session: number, body: ClientBody) {
  const answers = () => edge.framesOf(session).filter(({ replyTo }) => replyTo !== 0);
  const before = answers().length;
  edge.request(session, body);
  await until(() => expect(answers()).toHaveLength(before + 1));
  return answers()[before]?.body;
}

async function see(edge: FakeEdge, session: number, notificationId: string, more = {}): Promise<unknown> {
  const value = { channel: "", notificationId, upTo: false, ...more };
  const answer = await ask(edge, session, { $case: "notificationSeen", value });
  return answer?.$case === "error" ? answer.value.code : answer?.$case;
}

async function unseen(edge: FakeEdge, session: number, channels: string[] = []) {
  const answer = await ask(edge, session, { $case: "unseen", value: { channels } });
  if (answer?.$case !== "unseenPage") throw new Error(`no page: ${JSON.stringify(answer)}`);
  return answer.value.channels;
}

const counts = (page: readonly UnseenNotifications[]) =>
  page.map((each) => `${each.seen?.channel ?? ""} ${each.unseen}`);

/** Lets time pass on the store's clock. */
function pass(ms: number): void {
  const nowUs = core.clock.nowUs.bind(core.clock);
  vi.spyOn(core.clock, "nowUs").mockImplementation(() => nowUs() + ms * 1000);
}

const nowMs = () => Math.floor(core.clock.nowUs() / 1000);

describe("a role's channel and everyone's", () => {
  it("are followed from the start by those they are meant for, and by nobody else", async () => {
    await open(here, 1, "pete", "porter");
    await open(there, 2, "paul", "porter");
    await open(here, 3, "ann");
    await notify(PORTERS, "to-porters");
    await notify(EVERYONE, "to-all");
    for (const [edge, session] of [
      [here, 1],
      [there, 2],
    ] as const)
      await until(() => expect(given(edge, session)).toEqual(["to-porters", "to-all"]));
    await until(() => expect(given(here, 3)).toEqual(["to-all"]));
    expect(here.heard(3).slice(0, 4)).toEqual([
      "welcome",
      "subscribed user:ann",
      "subscribed role:customer",
      "subscribed everyone:all",
    ]);
  });

  it("cost a session nothing at the store once the home follows them", async () => {
    await open(here, 1, "pete", "porter");
    const follow = vi.spyOn(core.broker, "follow");
    const state = vi.spyOn(core.broker, "state");
    const history = vi.spyOn(core.broker, "history");
    for (let session = 2; session < 50; session++) here.open(session, { userId: "pete", role: "porter" });
    await untilHeard(here, 49, "subscribed everyone:all");
    const asked = [follow, state, history].flatMap(({ mock }) => mock.calls.map(([channel]) => channel.name));
    expect(asked).toEqual([]);
  });

  it("are followed, read and published in by no stranger", async () => {
    await open(here, 1, "ann");
    const denied = ErrorCode.ERROR_CODE_PERMISSION_DENIED;
    const subscribe = { $case: "subscribe", value: { channel: "role:porter", after: undefined } } as const;
    const history = {
      $case: "history",
      value: { channel: "role:porter", from: undefined, backward: false, limit: 0 },
    } as const;
    const custom = (channel: string) =>
      ({ $case: "custom", value: { channel, type: "t", data: undefined } }) as const;
    for (const body of [subscribe, history, custom("role:customer"), custom("everyone:all")])
      expect(await ask(here, 1, body)).toMatchObject({ $case: "error", value: { code: denied } });
    expect(await see(here, 1, "n", { channel: "role:porter" })).toBe(denied);
    const question: ClientBody = { $case: "unseen", value: { channels: ["role:porter"] } };
    expect(await ask(here, 1, question)).toMatchObject({ value: { code: denied } });
  });

  it("give who comes back what was said meanwhile, once", async () => {
    await open(here, 1, "pete", "porter");
    await notify(PORTERS, "before");
    await until(() => expect(given(here, 1)).toEqual(["before"]));
    const frame = here.framesOf(1).find(({ body }) => body?.$case === "event")?.body;
    const position = frame?.$case === "event" ? frame.value.position : undefined;
    await leave(here, 1);
    await notify(PORTERS, "while-away");
    const positions: Record<string, Position> = position ? { [PORTERS.name]: position } : {};
    here.open(2, { userId: "pete", role: "porter" }, { awaitsResume: true });
    here.request(2, { $case: "resume", value: { resumeToken: tokenOf(here, 1), positions } });
    await untilResumed(here, 2);
    expect(given(here, 2)).toEqual(["while-away"]);
  });

  it("do not keep anybody out while they cannot be heard", async () => {
    const follow = core.broker.follow.bind(core.broker);
    vi.spyOn(core.broker, "follow").mockImplementation((channel, listener) =>
      channel.kind === "everyone" ? Promise.reject(new Error("away")) : follow(channel, listener),
    );
    here.open(1, { userId: "ann", role: "customer" });
    await untilHeard(here, 1, "subscribed user:ann");
    vi.restoreAllMocks();
    await until(() => expect(core.fanout.followedChannels).toBeGreaterThan(0));
    await vi.waitFor(
      async () => {
        await notify(EVERYONE, "heard-at-last");
        expect(given(here, 1)).toContain("heard-at-last");
      },
      { timeout: 5_000, interval: 50 },
    );
  });
});

describe("a notification that was seen on one device", () => {
  it("is known on the other, and to whoever comes later", async () => {
    await open(here, 1, "ann");
    await open(there, 2, "ann");
    for (const id of ["n1", "n2", "n3"]) await notify(ANN, id);
    await until(() => expect(given(there, 2)).toEqual(["n1", "n2", "n3"]));
    expect(counts(await unseen(here, 1))).toEqual(["user:ann 3", "role:customer 0", "everyone:all 0"]);
    expect(await see(here, 1, "n3")).toBe("reply");
    await until(() => expect(seenTold(there, 2)).toMatchObject([{ channel: "user:ann", offsets: [3] }]));
    expect(counts(await unseen(there, 2, ["user:ann"]))).toEqual(["user:ann 2"]);
    expect(await see(there, 2, "n2", { upTo: true })).toBe("reply");
    await until(() => expect(seenTold(here, 1).at(-1)).toMatchObject({ upTo: { offset: 3 }, offsets: [] }));
    await open(here, 3, "ann");
    const subscribed = here
      .framesOf(3)
      .flatMap(({ body }) => (body?.$case === "subscribed" ? [body.value] : []));
    expect(subscribed[0]?.latest.map(({ body }) => body?.value)).toMatchObject([{ upTo: { offset: 3 } }]);
    expect(counts(await unseen(here, 3, ["user:ann"]))).toEqual(["user:ann 0"]);
  });

  it("of a role is each user's own mark", async () => {
    await open(here, 1, "pete", "porter");
    await open(there, 2, "paul", "porter");
    await notify(PORTERS, "n1");
    await until(() => expect(given(there, 2)).toEqual(["n1"]));
    expect(await see(here, 1, "n1", { channel: "role:porter" })).toBe("reply");
    expect(counts(await unseen(here, 1, ["role:porter"]))).toEqual(["role:porter 0"]);
    expect(counts(await unseen(there, 2, ["role:porter"]))).toEqual(["role:porter 1"]);
    expect(seenTold(there, 2)).toEqual([]);
  });

  it("must be one that the channel keeps, and the frame must be one that can be read", async () => {
    await open(here, 1, "ann");
    await core.publish(ANN);
    expect(await see(here, 1, "n1")).toBe(ErrorCode.ERROR_CODE_NOT_FOUND);
    expect(await see(here, 1, "")).toBe(ErrorCode.ERROR_CODE_INVALID_ARGUMENT);
    expect(await see(here, 1, "n1", { channel: "planet:1" })).toBe(ErrorCode.ERROR_CODE_NOT_FOUND);
    expect(await see(here, 1, "n1", { channel: "user:ben" })).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    const many = Array.from({ length: 17 }, (_, index) => `public:${index}`);
    const question = { $case: "unseen", value: { channels: many } } as const;
    expect(await ask(here, 1, question)).toMatchObject({ $case: "error" });
  });

  it("is refused while the store is away, and can be said again", async () => {
    await open(here, 1, "ann");
    await notify(ANN, "n1");
    vi.spyOn(core.seenMarks, "raise").mockRejectedValueOnce(new Error("away"));
    expect(await see(here, 1, "n1")).toBe(ErrorCode.ERROR_CODE_INTERNAL);
    expect(await see(here, 1, "n1")).toBe("reply");
  });
});

describe("a notification whose time is over", () => {
  it("is not stored, nor told", async () => {
    await open(here, 1, "ann");
    await notify(ANN, "old", nowMs() - 1);
    await notify(ANN, "fresh", nowMs() + 60_000);
    await until(() => expect(given(here, 1)).toEqual(["fresh"]));
    expect(await core.elsewhere.history(ANN, { afterOffset: 0, limit: 10 })).toHaveLength(1);
  });

  it("is passed over where it was lost on the way and read too late", async () => {
    await open(here, 1, "ann");
    await notify(ANN, "before");
    await until(() => expect(given(here, 1)).toEqual(["before"]));
    core.broker.way = () => [];
    await notify(ANN, "short", nowMs() + 60_000);
    await notify(ANN, "long");
    core.broker.way = (message) => [message];
    pass(60_001);
    await notify(ANN, "after");
    await until(() => expect(given(here, 1)).toEqual(["before", "long", "after"]));
    expect(core.fanout.counters.historyHoles).toBe(0);
    expect(core.fanout.counters.notificationsExpired).toBe(1);
  });

  it("is not replayed, not in the history, and not counted; what stands around it is, each once", async () => {
    await core.grant(order("42"), "ann");
    here.open(1, { userId: "ann" });
    here.subscribe(1, "order:42");
    await untilHeard(here, 1, "subscribed order:42");
    await leave(here, 1);
    for (const channel of [ANN, order("42")]) {
      await notify(channel, "first");
      await notify(channel, "short", nowMs() + 60_000);
      await notify(channel, "long", nowMs() + 600_000);
      await notify(channel, "short-too", nowMs() + 60_000);
    }
    pass(60_001);
    comeBack(here, 2, { userId: "ann", resumeToken: tokenOf(here, 1) });
    await untilResumed(here, 2);
    expect(given(here, 2)).toEqual(["first", "long", "first", "long"]);
    const lost = here.framesOf(2).filter(({ body }) => body?.$case === "subscribed" && !body.value.recovered);
    expect(lost).toEqual([]);
    expect(counts(await unseen(here, 2, ["user:ann", "order:42"]))).toEqual(["user:ann 2", "order:42 2"]);
    const value = { channel: "order:42", from: undefined, backward: false, limit: 2 };
    const page = await ask(here, 2, { $case: "history", value });
    if (page?.$case !== "historyPage") throw new Error("no page");
    expect(page.value.events.map(({ position }) => position?.offset)).toEqual([1]);
    expect(page.value.next).toMatchObject({ offset: 2 });
    await notify(ANN, "live");
    await until(() => expect(given(here, 2).at(-1)).toBe("live"));
    expect(core.fanout.counters.notificationsExpired).toBeGreaterThan(0);
  });
});
