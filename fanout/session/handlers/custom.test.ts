import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { Reply } from "#proto/gen/realtime/client/v1/server_frame.js";
import { channelOf, userChannel } from "#fanout/channel/channel.js";
import { channelKeys } from "#fanout/redis/keys.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate, order } from "#test/support/fanout-core.js";

const channel = order("42");
const DONE = { channel: "order:42", type: "job.done", data: { by: "p1", count: 3 } };
let core: FanoutCore;
let edge: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  await core.grant(channel, "owner");
  await core.grant(channel, "porter", "assigned");
});

afterEach(() => core.stop());

const until = (expectation: () => unknown) => vi.waitFor(expectation, { timeout: 5_000, interval: 5 });

async function open(session: number, userId: string, role = "customer", at = edge): Promise<void> {
  at.open(session, { userId, role });
  await until(() => expect(at.heard(session)).toContain(`subscribed user:${userId}`));
}

type Body = Partial<typeof DONE> | Omit<typeof DONE, "data">;

function send(
  session: number,
  body: Body = DONE,
  frame: { requestId?: string; id?: number } = {},
  at = edge,
) {
  at.request(session, { $case: "custom", value: { ...DONE, ...body } }, frame);
}

/** The answers to custom frames, in order: replies, and the errors' codes. */
function answers(session: number, at = edge): (Reply | ErrorCode)[] {
  return at.framesOf(session).flatMap(({ body }): (Reply | ErrorCode)[] => {
    if (body?.$case === "reply") return [body.value];
    return body?.$case === "error" ? [body.value.code] : [];
  });
}

async function untilAnswered(session: number, count: number, at = edge): Promise<(Reply | ErrorCode)[]> {
  await until(() => expect(answers(session, at)).toHaveLength(count));
  return answers(session, at);
}

async function stored(name = channel): Promise<Event[]> {
  const events = await core.elsewhere.history(name, { afterOffset: 0, limit: 500 });
  return events.map(({ payload }) => Event.decode(payload));
}

describe("a custom event", () => {
  it("is stored with its sender, correlation id and trace, and answered with its position, id and time", async () => {
    await open(1, "porter", "porter");
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    edge.request(1, { $case: "custom", value: DONE }, { correlationId: "order-42", traceparent });
    const [reply] = await untilAnswered(1, 1);
    const [event] = await stored();
    expect(event).toMatchObject({
      channel: "order:42",
      sender: { userId: "porter", role: "porter" },
      correlationId: "order-42",
      traceparent,
      body: { $case: "custom", value: { type: "job.done", data: { by: "p1", count: 3 } } },
    });
    const { position } = await core.elsewhere.state(channel);
    expect(reply).toEqual({ id: event?.id, position, timeMs: expect.any(Number) as number });
    expect(event?.id).toMatch(/^[0-9a-f]{32}$/);
  });

  it("reaches all who follow, its sender too, whose reply comes behind it", async () => {
    const elsewhere = core.edgeElsewhere();
    await open(1, "owner");
    await open(2, "porter", "porter", elsewhere);
    edge.subscribe(1, "order:42");
    elsewhere.subscribe(2, "order:42");
    await until(() => expect(elsewhere.heard(2)).toContain("subscribed order:42"));
    // Pub/sub is slower than the store's answer.
    core.broker.way = (message) => {
      setTimeout(() => core.broker.say(channel, message), 20);
      return [];
    };
    await core.publish(channel);
    send(1);
    await until(() => expect(elsewhere.heard(2)).toContain("custom 2"));
    await until(() => expect(edge.heard(1).slice(3)).toEqual(["orderStatus 1", "custom 2", "reply"]));
  });

  it("whose way back is lost is answered all the same, and read from history", async () => {
    await open(1, "owner");
    edge.subscribe(1, "order:42");
    await until(() => expect(edge.heard(1)).toContain("subscribed order:42"));
    core.broker.way = () => [];
    send(1);
    await until(() => expect(edge.heard(1)).toEqual(expect.arrayContaining(["reply", "custom 1"])));
  });

  it("is answered only after it is stored", async () => {
    await open(1, "owner");
    const storing = gate();
    core.broker.answers.set("publish", () => storing.opened);
    send(1);
    await until(() => expect(core.broker.calls).toContain("publish"));
    expect(answers(1)).toEqual([]);
    storing.open();
    expect(await untilAnswered(1, 1)).toMatchObject([{ position: { offset: 1 } }]);
  });

  it("gets unavailable while the store is away", async () => {
    await open(1, "owner");
    core.broker.failing.add("publish");
    send(1);
    expect(await untilAnswered(1, 1)).toEqual([ErrorCode.ERROR_CODE_UNAVAILABLE]);
  });

  it("without an id gets no reply, but its error", async () => {
    await open(1, "owner");
    send(1, DONE, { id: 0 });
    send(1, { type: "" }, { id: 0 });
    expect(await untilAnswered(1, 1)).toEqual([ErrorCode.ERROR_CODE_INVALID_ARGUMENT]);
    expect(await stored()).toHaveLength(1);
  });

  it("of a type that is marked goes to the outbox in the same step, once; another does not", async () => {
    await open(1, "owner");
    send(1, DONE, { requestId: "r1" });
    send(1, DONE, { requestId: "r1" });
    send(1, { type: "job.begun" });
    await untilAnswered(1, 3);
    const waiting = core.memory.outbox.waiting(channelKeys(channel).partition.index);
    const [event] = await stored();
    expect(waiting).toMatchObject([{ topic: "custom-events", key: "42", eventId: event?.id, offset: 1 }]);
  });
});

describe("a custom frame is refused", () => {
  it.each<[string, Body, ErrorCode, string]>([
    ["a channel that has no name", { channel: "" }, ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "custom.channel"],
    [
      "a name that could steer",
      { channel: "order:{x}" },
      ErrorCode.ERROR_CODE_INVALID_ARGUMENT,
      "custom.channel",
    ],
    ["a kind that is not", { channel: "planet:1" }, ErrorCode.ERROR_CODE_NOT_FOUND, "custom.channel"],
    ["no type", { type: "" }, ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "custom.type"],
    ["a long type", { type: "x".repeat(65) }, ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "custom.type"],
    ["a type with a line break", { type: "a\n" }, ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "custom.type"],
    ["a type with a space", { type: "a b" }, ErrorCode.ERROR_CODE_INVALID_ARGUMENT, "custom.type"],
    [
      "data that is too large",
      { data: { by: "x".repeat(64 * 1024), count: 1 } },
      ErrorCode.ERROR_CODE_PAYLOAD_TOO_LARGE,
      "custom.data",
    ],
    [
      "data with a number that JSON cannot say",
      { data: { by: "x", count: Number.NaN } },
      ErrorCode.ERROR_CODE_INVALID_ARGUMENT,
      "custom.data",
    ],
  ])("for %s", async (_what, body, code, field) => {
    await open(1, "owner");
    send(1, body);
    await untilAnswered(1, 1);
    expect(edge.framesOf(1).at(-1)?.body).toMatchObject({ $case: "error", value: { code, field } });
    expect(await stored()).toEqual([]);
  });

  it("for who has no part, for one's own channel, and for what only services say", async () => {
    const notification = channelOf("default", "notification", "n1");
    await core.grant(notification, "owner");
    await open(1, "owner");
    await open(2, "stranger");
    send(2);
    send(1, { channel: "user:owner" });
    send(1, { channel: "notification:n1" });
    const denied = ErrorCode.ERROR_CODE_PERMISSION_DENIED;
    expect(await untilAnswered(1, 2)).toEqual([denied, denied]);
    expect(await untilAnswered(2, 1)).toEqual([denied]);
    for (const name of [channel, notification, userChannel("default", "owner")]) {
      expect(await stored(name)).toEqual([]);
    }
  });

  it("to nobody who is an admin", async () => {
    await open(1, "boss", "admin");
    for (const name of ["order:7", "user:owner", "notification:n1"]) send(1, { channel: name });
    const first = { position: { offset: 1 } };
    expect(await untilAnswered(1, 3)).toMatchObject([first, first, first]);
  });
});

describe("a frame that is sent again", () => {
  it("from the next home gets the very same reply, and has one effect", async () => {
    await open(1, "owner");
    send(1);
    const [first] = await untilAnswered(1, 1);
    // The home died before the edge had the answer: the same connection and up-sequence, at another fanout.
    const nextHome = core.edgeElsewhere();
    await core.publish(channel);
    await open(1, "owner", "customer", nextHome);
    send(1, DONE, {}, nextHome);
    expect(await untilAnswered(1, 1, nextHome)).toEqual([first]);
    expect(await stored()).toHaveLength(2);
  });

  it("with its request id after a reconnect gets the very same reply, and has one effect", async () => {
    await open(1, "owner");
    send(1, DONE, { requestId: "r-1" });
    const [first] = await untilAnswered(1, 1);
    const nextHome = core.edgeElsewhere();
    await open(7, "owner", "customer", nextHome);
    send(7, DONE, { requestId: "r-2" }, nextHome);
    send(7, DONE, { requestId: "r-1" }, nextHome);
    const [other, again] = await untilAnswered(7, 2, nextHome);
    expect(again).toEqual(first);
    expect(other).toMatchObject({ position: { offset: 2 } });
    expect(await stored()).toHaveLength(2);
  });

  it("while the first is under way at another fanout gets the same reply too", async () => {
    const nextHome = core.edgeElsewhere();
    await open(1, "owner");
    await open(7, "owner", "customer", nextHome);
    const storing = gate();
    core.broker.answers.set("publish", () => storing.opened);
    send(1, DONE, { requestId: "r-1" });
    await until(() => expect(core.broker.calls).toContain("publish"));
    send(7, DONE, { requestId: "r-1" }, nextHome);
    const [again] = await untilAnswered(7, 1, nextHome);
    storing.open();
    expect(await untilAnswered(1, 1)).toEqual([again]);
    expect(await stored()).toHaveLength(1);
  });

  it("by another user, or in another channel, is another request", async () => {
    await core.grant(order("43"), "owner");
    await open(1, "owner");
    await open(2, "porter", "porter");
    send(1, DONE, { requestId: "r-1" });
    const [first] = await untilAnswered(1, 1);
    send(2, DONE, { requestId: "r-1" });
    send(1, { channel: "order:43" }, { requestId: "r-1" });
    expect(await untilAnswered(2, 1)).not.toEqual([first]);
    await untilAnswered(1, 2);
    expect([await stored(), await stored(order("43"))].map(({ length }) => length)).toEqual([2, 1]);
  });

  it("by who may not publish any more is denied", async () => {
    await open(1, "owner");
    send(1, DONE, { requestId: "r-1" });
    await untilAnswered(1, 1);
    await core.participations.end(channel, "owner");
    send(1, DONE, { requestId: "r-1" });
    expect((await untilAnswered(1, 2))[1]).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
  });
});

describe("permission to publish", () => {
  it("costs no look-up where the channel is followed, until who takes part may have changed", async () => {
    await open(1, "owner");
    edge.subscribe(1, "order:42");
    await until(() => expect(edge.heard(1)).toContain("subscribed order:42"));
    send(1);
    await untilAnswered(1, 1);
    const asked = vi.spyOn(core.directory, "participation");
    for (let index = 0; index < 5; index += 1) send(1);
    await untilAnswered(1, 6);
    expect(asked).not.toHaveBeenCalled();
    await core.grant(channel, "somebody");
    await until(async () => {
      send(1);
      await untilAnswered(1, answers(1).length + 1);
      expect(asked).toHaveBeenCalled();
    });
  });

  it("is asked for each time where the channel is not followed", async () => {
    await open(1, "owner");
    const asked = vi.spyOn(core.directory, "participation");
    send(1);
    send(1);
    await untilAnswered(1, 2);
    expect(asked).toHaveBeenCalledTimes(2);
  });

  it("ends with the signal, before the session is unsubscribed", async () => {
    await open(1, "owner");
    edge.subscribe(1, "order:42");
    send(1);
    await untilAnswered(1, 1);
    // The check of followers hangs: the session still follows, and may publish no more.
    const checking = gate();
    const participants = vi.spyOn(core.directory, "participants");
    participants.mockImplementation(async () => {
      await checking.opened;
      return [];
    });
    await core.participations.end(channel, "owner");
    await until(() => expect(participants).toHaveBeenCalled());
    send(1);
    expect((await untilAnswered(1, 2))[1]).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    expect(edge.heard(1)).not.toContain("unsubscribed order:42");
    checking.open();
  });
});
