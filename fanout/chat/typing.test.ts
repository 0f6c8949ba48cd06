import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { ChatCore, ORDER, PAIR, until, type ChatUser } from "#test/support/chat-core.js";

const TO_ORDER = { channel: "order:42" };
let core: ChatCore;
let ann: ChatUser;
let ben: ChatUser;

async function start(chat = {}): Promise<void> {
  core = await ChatCore.start(chat);
  ann = await core.user("ann");
  ben = await core.user("ben", { role: "porter", there: true });
  await ann.follow(ORDER);
  await ben.follow(ORDER);
}

beforeEach(() => start());
afterEach(() => core.stop());

const typings = (user: ChatUser): string[] =>
  user.told("typing").map(({ userId, typing }) => `${userId} ${typing ? "types" : "stops"}`);

describe("typing", () => {
  it("is heard by all who follow but the connection that types, and is not stored", async () => {
    const other = await core.user("ann");
    await other.follow(ORDER);
    expect(await ann.type(TO_ORDER)).toMatchObject({ id: "", position: undefined });
    await ann.type(TO_ORDER);
    await ann.type(TO_ORDER, false);
    await ann.type(TO_ORDER, false);
    await until(() => expect(typings(ben)).toEqual(["ann types", "ann stops"]));
    await until(() => expect(typings(other)).toEqual(["ann types", "ann stops"]));
    expect(typings(ann)).toEqual([]);
    expect((await core.elsewhere.state(ORDER)).position.offset).toBe(0);
  });

  it("ends by itself, and with its session", async () => {
    await core.stop();
    await start({ typingTtlMs: 300 });
    await ann.type(TO_ORDER);
    await until(() => expect(typings(ben)).toEqual(["ann types", "ann stops"]));
    expect(core.fanout.counters.typingLapsed).toBe(1);
    await core.stop();
    await start({ typingTtlMs: 3_600_000 });
    await ann.type(TO_ORDER);
    await until(() => expect(typings(ben)).toEqual(["ann types"]));
    ann.leave();
    await until(() => expect(typings(ben)).toEqual(["ann types", "ann stops"]));
    expect(core.fanout.chat.typing.typing).toBe(0);
  });

  it("goes to the conversation with a user, once there is one", async () => {
    await ann.type({ recipientId: "ben" });
    expect(core.fanout.chat.typing.typing).toBe(0);
    await ann.say({ recipientId: "ben" });
    await ben.follow(PAIR);
    await ann.type({ recipientId: "ben" });
    await until(() => expect(typings(ben)).toEqual(["ann types"]));
  });

  it("is refused where one may not write", async () => {
    const carl = await core.user("carl");
    expect(await carl.type(TO_ORDER)).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    expect(await carl.type({ channel: PAIR.name })).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    expect(await carl.type({ channel: "user:carl" })).toBe(ErrorCode.ERROR_CODE_INVALID_ARGUMENT);
    await core.stop();
    await start({ openConversations: false });
    expect(await ann.type({ recipientId: "carl" })).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
  });

  it("still reaches those at the same fanout while the store is away", async () => {
    const other = await core.user("ann");
    await other.follow(ORDER);
    core.broker.isAway = true;
    await ann.type(TO_ORDER);
    await until(() => expect(typings(other)).toEqual(["ann types"]));
    core.broker.isAway = false;
  });
});
