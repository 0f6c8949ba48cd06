import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { GatewayError } from "#proto/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { channelOf, userChannel } from "#fanout/channel/channel.js";
import { merchantParty } from "#fanout/directory/merchant-party.js";
import { channelKeys } from "#fanout/redis/keys.js";
import { ChatCore, ORDER, PAIR, READ, until, type ChatUser } from "#test/support/chat-core.js";
import { order, status } from "#test/support/fanout-core.js";
import { MAX_PARTS_OF_BEGINNER } from "./conversations.js";

const TO_ORDER = { channel: "order:42" };
const DENIED = ErrorCode.ERROR_CODE_PERMISSION_DENIED;
const INVALID = ErrorCode.ERROR_CODE_INVALID_ARGUMENT;
const GONE = ErrorCode.ERROR_CODE_NOT_FOUND;
let core: ChatCore;
let ann: ChatUser;
let ben: ChatUser;

async function start(chat = {}): Promise<void> {
  core = await ChatCore.start(chat);
  ann = await core.user("ann");
  ben = await core.user("ben", { role: "porter", there: true });
}

beforeEach(() => start());
afterEach(() => core.stop());

describe("a message", () => {
  it("is stored, numbered and answered with where it stands, behind the message itself", async () => {
    await ann.follow(ORDER);
    await ben.follow(ORDER);
    const first = await ann.say(TO_ORDER, "one");
    const second = await ann.say(TO_ORDER, "two");
    const text = { messageType: "text", clientMessageId: "", recipientId: "" };
    expect(await core.messages()).toEqual([
      { ...text, messageId: first.id, content: "one", number: 1 },
      { ...text, messageId: second.id, content: "two", number: 2 },
    ]);
    const [event] = await core.stored();
    expect(event?.sender).toEqual({ userId: "ann", role: "customer" });
    const { position } = await core.elsewhere.state(ORDER);
    expect(second).toEqual({ position, id: second.id, timeMs: expect.any(Number) as number });
    await until(() => expect(ben.heard).toContain("chatMessage 2"));
    expect(ann.heard.slice(3)).toEqual(["chatMessage 1", "reply", "chatMessage 2", "reply"]);
  });

  it("goes to Kafka's outbox as it is stored, and no receipt does", async () => {
    const { id } = await ann.say(TO_ORDER);
    await ben.confirm(id, READ);
    const waiting = core.memory.outbox.waiting(channelKeys(ORDER).partition.index);
    expect(waiting).toMatchObject([{ topic: "chat-events", key: "42" }]);
    const events = waiting.map(({ payload }) => Event.decode(payload));
    expect(events).toMatchObject([{ body: { $case: "chatMessage", value: { messageId: id, number: 1 } } }]);
  });

  it("that is sent again with its client id or its request id has one effect and the same answer", async () => {
    const other = await core.user("ann", { there: true });
    const first = await ann.say(TO_ORDER, "one", { clientMessageId: "cm-1", requestId: "r-1" });
    const repeats = [
      { clientMessageId: "cm-1" },
      { requestId: "r-1" },
      { clientMessageId: "cm-1", requestId: "r-2" },
      { clientMessageId: "cm-2", requestId: "r-1" },
    ];
    for (const repeat of repeats) expect(await other.say(TO_ORDER, "again", repeat)).toEqual(first);
    expect(await core.messages()).toHaveLength(1);
    // Another user's ids are another's, and a message without ids is another one each time.
    await ben.say(TO_ORDER, "mine", { clientMessageId: "cm-1", requestId: "r-1" });
    await ann.say(TO_ORDER, "no id");
    await ann.say(TO_ORDER, "no id");
    expect((await core.messages()).map(({ number }) => number)).toEqual([1, 2, 3, 4]);
  });

  it("is refused from who has no part, and where nothing is said", async () => {
    const carl = await core.user("carl");
    expect(await carl.send(TO_ORDER)).toBe(DENIED);
    expect(await carl.send({ channel: PAIR.name })).toBe(DENIED);
    for (const channel of ["user:carl", "notification:n1", "no name"]) {
      expect(await carl.send({ channel })).toBe(INVALID);
    }
    expect(await carl.send({ channel: "nothing:1" })).toBe(GONE);
    expect(await carl.send({ recipientId: "carl" })).toBe(INVALID);
    expect(await carl.send({ recipientId: "a b" })).toBe(INVALID);
    const value = { target: undefined, content: "x", messageType: "", clientMessageId: "" };
    expect(await carl.ask({ $case: "chatSend", value })).toBe(INVALID);
    expect(await core.stored()).toEqual([]);
  });

  it("is refused where it is none, or too large", async () => {
    expect(await ann.send(TO_ORDER, "")).toBe(INVALID);
    const tooLarge = ErrorCode.ERROR_CODE_PAYLOAD_TOO_LARGE;
    expect(await ann.send(TO_ORDER, "x".repeat(16_385))).toBe(tooLarge);
    expect(await ann.send(TO_ORDER, "é".repeat(8_193))).toBe(tooLarge);
    expect(await ann.send(TO_ORDER, "x", { messageType: "a b" })).toBe(INVALID);
    expect(await ann.send(TO_ORDER, "x", { messageType: "x".repeat(65) })).toBe(INVALID);
    expect(await ann.send(TO_ORDER, "x", { clientMessageId: "x".repeat(129) })).toBe(INVALID);
    expect(await ann.send(TO_ORDER, "x", { clientMessageId: "a\nb" })).toBe(INVALID);
    expect(await core.stored()).toEqual([]);
    await ann.say(TO_ORDER, "x".repeat(16_384), { messageType: "x".repeat(64) });
  });

  it("is unavailable while the store is away, and said once however often it is sent", async () => {
    const more = { clientMessageId: "cm-1" };
    core.broker.failing.add("publish");
    expect(await ann.send(TO_ORDER, "one", more)).toBe(ErrorCode.ERROR_CODE_UNAVAILABLE);
    core.broker.failing.clear();
    const first = await ann.say(TO_ORDER, "one", more);
    expect(await ann.say(TO_ORDER, "one", more)).toEqual(first);
    expect(await core.messages()).toMatchObject([{ number: 1 }]);
  });

  it("whose answer of the store was lost is said once, and answered when it is sent again", async () => {
    const away = new GatewayError("unavailable", "the store went away");
    core.broker.answers.set("publish", () => Promise.reject(away));
    const more = { clientMessageId: "cm-1" };
    expect(await ann.send(TO_ORDER, "one", more)).toBe(ErrorCode.ERROR_CODE_UNAVAILABLE);
    core.broker.answers.clear();
    const there = await core.user("ann", { there: true });
    const again = await there.say(TO_ORDER, "one", more);
    const [message, ...others] = await core.messages();
    expect(again.id).toBe(message?.messageId);
    expect(others).toEqual([]);
    // What follows from it is made up for: one's own message is none to read.
    expect(await ann.unread(["order:42"])).toMatchObject([{ unread: 0, lastNumber: 1 }]);
  });
});

describe("the conversation of two users", () => {
  it("begins with the first message: both may follow and write, others may not", async () => {
    expect(await ben.send({ channel: PAIR.name })).toBe(DENIED);
    const first = await ann.say({ recipientId: "ben" }, "hello");
    expect(first.channel).toBe(PAIR.name);
    await ben.follow(PAIR);
    expect(await ben.say({ recipientId: "ann" }, "hi")).toMatchObject({ channel: PAIR.name });
    expect((await ben.say({ channel: PAIR.name }, "by name")).channel).toBeUndefined();
    expect(await core.messages(PAIR)).toMatchObject([
      { recipientId: "ben", number: 1 },
      { recipientId: "ann", number: 2 },
      { recipientId: "ann", number: 3 },
    ]);
    const carl = await core.user("carl");
    expect(await carl.send({ channel: PAIR.name })).toBe(DENIED);
    const parts = await core.directory.participants(PAIR);
    expect(parts.map(({ userId }) => userId).sort()).toEqual(["ann", "ben"]);
  });

  it("is told to both in their own channels, by how much they have not read", async () => {
    for (const content of ["one", "two"]) await ann.say({ recipientId: "ben" }, content);
    const nothing = { channel: PAIR.name, readNumber: 0, deliveredNumber: 0, recipientId: "ann" };
    await until(() =>
      expect(ben.told("unread")).toEqual([
        { ...nothing, unread: 1, lastNumber: 1 },
        { ...nothing, unread: 2, lastNumber: 2 },
      ]),
    );
    // The sender's other devices hear of it as well.
    expect(ann.told("unread")).toMatchObject([
      { unread: 0, lastNumber: 1, recipientId: "ben" },
      { unread: 0, lastNumber: 2, recipientId: "ben" },
    ]);
    const { position } = await core.elsewhere.state(userChannel("default", "ben"));
    expect(position.offset).toBe(0);
  });

  it("waits for who was away: what they have not read comes with their own channel", async () => {
    await ann.say({ recipientId: "dora" });
    const dora = await core.user("dora", { there: true });
    const [, subscribed] = dora.frames;
    if (subscribed?.body?.$case !== "subscribed") throw new Error("subscribed comes second");
    const [latest] = subscribed.body.value.latest;
    expect(latest?.body).toMatchObject({ $case: "unread", value: { unread: 1, recipientId: "ann" } });
  });

  it("tells what a send has left untold when it is sent again", async () => {
    core.broker.failing.add("update");
    const more = { clientMessageId: "cm-1" };
    const away = ErrorCode.ERROR_CODE_UNAVAILABLE;
    expect(await ann.send({ recipientId: "ben" }, "one", more)).toBe(away);
    core.broker.failing.clear();
    await ann.say({ recipientId: "ben" }, "one", more);
    await until(() => expect(ben.told("unread")).toMatchObject([{ unread: 1 }]));
    expect(await core.messages(PAIR)).toHaveLength(1);
  });

  it("is not begun by users where it is not open to all, and goes on where others began it", async () => {
    await core.stop();
    await start({ openConversations: false });
    expect(await ann.send({ recipientId: "ben" })).toBe(DENIED);
    expect(await core.directory.participants(PAIR)).toEqual([]);
    const boss = await core.user("boss", { role: "admin" });
    await boss.say({ recipientId: "ann" });
    await ann.say({ recipientId: "boss" });
    for (const userId of ["ann", "ben"]) await core.grant(PAIR, userId, "member");
    await ann.say({ recipientId: "ben" });
  });

  it("prolongs nobody's part where users may not begin one", async () => {
    await core.stop();
    await start({ openConversations: false });
    const { directory, participations } = core;
    const expiresAtMs = Date.now() + 3_600_000;
    for (const userId of ["ann", "ben"])
      await participations.grant({ channel: PAIR, userId, relation: "member", expiresAtMs });
    await ann.say({ recipientId: "ben" });
    const parts = await directory.participants(PAIR);
    expect(parts.map((part) => part.expiresAtMs)).toEqual([expiresAtMs, expiresAtMs]);
    await participations.end(PAIR, "ben");
    await ann.say({ recipientId: "ben" });
    expect((await directory.participants(PAIR)).map(({ userId }) => userId)).toEqual(["ann"]);
  });

  it("is not begun by who takes part in too much, but goes on", async () => {
    await ann.say({ recipientId: "ben" });
    const expiresAtMs = Date.now() + 3_600_000;
    for (let index = 0; index < MAX_PARTS_OF_BEGINNER; index++) {
      const channel = channelOf("default", "conversation", `c${index}`);
      await core.directory.grant({ channel, userId: "ann", relation: "member", expiresAtMs });
    }
    expect(await ann.send({ recipientId: "carl" })).toBe(ErrorCode.ERROR_CODE_RATE_LIMITED);
    expect((await core.directory.recordOfUser("default", "carl")).parts).toEqual([]);
    await ann.say({ recipientId: "ben" });
    await ben.say({ recipientId: "ann" });
  });

  it("tells nothing to who takes part no more", async () => {
    await ann.say({ recipientId: "ben" });
    await until(() => expect(ben.told("unread")).toHaveLength(1));
    await core.participations.end(PAIR, "ben");
    const { channel } = await ann.say({ recipientId: "ben" });
    expect(channel).toBe(PAIR.name);
    expect((await core.directory.participants(PAIR)).map(({ userId }) => userId)).toEqual(["ann"]);
    // What comes through the same channel later is heard: so what came before would have been.
    await core.publish(userChannel("default", "ben"), status("later"));
    await until(() => expect(ben.told("orderStatus")).toHaveLength(1));
    expect(ben.told("unread")).toHaveLength(1);
  });

  it("with a restaurant is written to by all whose token names it", async () => {
    const kitchen = channelOf("default", "conversation", "kitchen");
    const channel = kitchen.name;
    await core.grant(kitchen, "ann", "member");
    await core.grant(kitchen, merchantParty("r1"), "merchant");
    const claimsJson = '{"restaurant":"r1"}';
    const cook = await core.user("cook", { role: "restaurant", claimsJson, there: true });
    const guest = await core.user("guest", { role: "restaurant" });
    await ann.say({ channel }, "is it ready?");
    await cook.say({ channel }, "soon");
    expect(await guest.send({ channel })).toBe(DENIED);
    await until(() => expect(ann.told("unread").at(-1)).toMatchObject({ unread: 1, lastNumber: 2 }));
    expect(await cook.unread()).toMatchObject([{ channel, unread: 1 }]);
    // Its people ask: nobody has the restaurant's name as theirs.
    const { latest } = await core.elsewhere.state(userChannel("default", merchantParty("r1")));
    expect(latest).toEqual([]);
  });

  it("of more than two has no one recipient", async () => {
    const round = channelOf("default", "conversation", "round");
    for (const userId of ["ann", "ben", "carl"]) await core.grant(round, userId, "member");
    await ann.say({ channel: round.name });
    expect(await core.messages(round)).toMatchObject([{ recipientId: "" }]);
  });
});

describe("a change of a message", () => {
  it("is its sender's and admins' to make, and is told as an event", async () => {
    const boss = await core.user("boss", { role: "admin" });
    const { id } = await ann.say(TO_ORDER);
    expect(await ben.edit(id)).toBe(DENIED);
    expect(ben.refusedField).toBe("chat_edit.message_id");
    expect(await ben.delete(id)).toBe(DENIED);
    expect(await ann.edit(id, "second")).toMatchObject({ id, position: { offset: 2 } });
    expect(await boss.edit(id, "third")).toMatchObject({ id, position: { offset: 3 } });
    const deleted = await boss.delete(id);
    expect(deleted).toMatchObject({ id, position: { offset: 4 } });
    expect((await core.stored()).slice(1).map(({ body }) => body)).toEqual([
      { $case: "chatEdited", value: { messageId: id, content: "second" } },
      { $case: "chatEdited", value: { messageId: id, content: "third" } },
      { $case: "chatDeleted", value: { messageId: id } },
    ]);
    // It is deleted once, and not edited any more.
    expect(await ann.delete(id)).toEqual(deleted);
    expect(await ann.edit(id)).toBe(GONE);
    expect(await core.stored()).toHaveLength(4);
  });

  it("that is sent again has one effect and the same answer", async () => {
    const { id } = await ann.say(TO_ORDER);
    const edit = { $case: "chatEdit", value: { messageId: id, content: "better" } } as const;
    const first = await ann.ask(edit, { requestId: "r-1" });
    expect(await ann.ask(edit, { requestId: "r-1" })).toEqual(first);
    expect(await core.stored()).toHaveLength(2);
  });

  it("of no message, of another channel's or another epoch's changes nothing", async () => {
    await core.grant(order("43"), "ann");
    const { id } = await ann.say(TO_ORDER);
    await core.publish(ORDER);
    const forged = [
      id.replace("order.42", "order.43"),
      id.replace(/\.1\.1$/, ".2.1"),
      id.replace(/\.1\.1$/, ".1.2"),
      id.replace(/\.1\.1$/, ".9.9"),
      id.replace(/\.[0-9a-f]{16}\./, ".0123456789abcdef."),
    ];
    for (const each of forged) {
      expect(each).not.toBe(id);
      expect(await ann.edit(each)).toBe(GONE);
      expect(ann.refusedField).toBe("chat_edit.message_id");
      expect(await ann.delete(each)).toBe(GONE);
      expect(ann.refusedField).toBe("chat_delete.message_id");
    }
    expect(await ann.edit("m-7")).toBe(INVALID);
    expect(await ann.edit(id, "")).toBe(INVALID);
    expect(await ann.edit(id.replace("order.42", "order.44"))).toBe(DENIED);
    expect(await core.stored()).toHaveLength(2);
  });

  it("that is refused says the field by its whole path, as receipts do", async () => {
    const { id } = await ann.say(TO_ORDER);
    const never = id.replace(/\.1\.1$/, ".9.9");
    for (const messageId of [id, never, "m-7"]) {
      await ben.edit(messageId);
      expect(ben.refusedField).toBe("chat_edit.message_id");
      await ben.delete(messageId);
      expect(ben.refusedField).toBe("chat_delete.message_id");
    }
    await ann.delete(id);
    await ann.edit(id);
    expect(ann.refusedField).toBe("chat_edit.message_id");
    await ben.confirm(never, READ);
    expect(ben.refusedField).toBe("receipt.message_id");
  });

  it("is refused to a sender whose part is over", async () => {
    const { id } = await ben.say(TO_ORDER);
    await core.participations.end(ORDER, "ben");
    expect(await ben.edit(id)).toBe(DENIED);
    expect(await ben.delete(id)).toBe(DENIED);
  });
});
