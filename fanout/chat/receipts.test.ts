import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { UnreadPage } from "#proto/gen/realtime/client/v1/server_frame.js";
import { channelOf } from "#fanout/channel/channel.js";
import { merchantParty } from "#fanout/directory/merchant-party.js";
import { ChatCore, DELIVERED, ORDER, PAIR, READ, until, type ChatUser } from "#test/support/chat-core.js";
import { order } from "#test/support/fanout-core.js";
import { MAX_TOLD_READERS } from "./receipts.js";

const TO_ORDER = { channel: "order:42" };
let core: ChatCore;
let ann: ChatUser;
let ben: ChatUser;

beforeEach(async () => {
  core = await ChatCore.start();
  ann = await core.user("ann");
  ben = await core.user("ben", { role: "porter", there: true });
});
afterEach(() => core.stop());

const valueKeys = async (channel = ORDER): Promise<string[]> =>
  (await core.elsewhere.state(channel)).latest.map(({ key }) => key);

describe("receipts", () => {
  it("take a message from sent over delivered to read, and do not stand in the history", async () => {
    const { id } = await ann.say({ recipientId: "ben" });
    await ann.follow(PAIR);
    await ben.confirm(id, DELIVERED);
    await until(() => expect(ann.told("receipt")).toHaveLength(1));
    await ben.confirm(id, READ);
    const marked = { upToNumber: 1, singleNumbers: [] };
    const receipt = { userId: "ben", messageId: id, upTo: true, number: 1, ...marked };
    await until(() =>
      expect(ann.told("receipt")).toEqual([
        { ...receipt, kind: DELIVERED },
        { ...receipt, kind: READ },
      ]),
    );
    // The reader's other devices hear that it is read.
    await until(() => expect(ben.told("unread").at(-1)).toMatchObject({ unread: 0, readNumber: 1 }));
    expect(await core.stored(PAIR)).toHaveLength(1);
  });

  it("up to a message mark all before it, as one value that the next one replaces", async () => {
    const ids: string[] = [];
    for (let count = 0; count < 20; count++) ids.push((await ann.say(TO_ORDER)).id);
    expect(await ben.unread(["order:42"])).toMatchObject([{ unread: 20, lastNumber: 20, readNumber: 0 }]);
    await ben.confirm(ids[9] ?? "", READ);
    expect(await ben.unread(["order:42"])).toMatchObject([{ unread: 10, readNumber: 10 }]);
    await ben.confirm(ids[19] ?? "", READ);
    await ben.confirm(ids[4] ?? "", READ);
    expect(await ben.unread(["order:42"])).toMatchObject([
      { unread: 0, readNumber: 20, deliveredNumber: 20 },
    ]);
    expect((await core.elsewhere.state(ORDER)).latest).toMatchObject([{ key: "receipt:2:ben", version: 20 }]);
  });

  it("wait for who comes later, with the channel", async () => {
    const { id } = await ann.say(TO_ORDER);
    await ben.confirm(id, READ);
    await ann.follow(ORDER);
    const subscribed = ann.frames.at(-1)?.body;
    if (subscribed?.$case !== "subscribed") throw new Error("subscribed is last");
    expect(subscribed.value.latest.map(({ body }) => body)).toMatchObject([
      { $case: "receipt", value: { userId: "ben", kind: READ, messageId: id } },
    ]);
  });

  it("for one message leave those before it unread", async () => {
    await ann.say(TO_ORDER);
    const { id } = await ann.say(TO_ORDER);
    await ann.follow(ORDER);
    await ben.confirm(id, READ, { upTo: false });
    expect(await ben.unread(["order:42"])).toMatchObject([{ unread: 1, readNumber: 0 }]);
    await until(() => expect(ann.told("receipt")).toMatchObject([{ messageId: id, upTo: false, number: 2 }]));
  });

  it("for single messages are all in one value, however many: none makes another lose its place", async () => {
    const ids: string[] = [];
    for (let count = 0; count < 9; count++) ids.push((await ann.say(TO_ORDER)).id);
    await ben.confirm(ids[1] ?? "", READ);
    for (const index of [8, 4, 6]) await ben.confirm(ids[index] ?? "", READ, { upTo: false });
    const { latest } = await core.elsewhere.state(ORDER);
    expect(latest.map(({ key }) => key)).toEqual(["receipt:2:ben", "receipt:2:ben:singles"]);
    // Who comes later learns of all of them, also of those that came before the last.
    await ann.follow(ORDER);
    const subscribed = ann.frames.at(-1)?.body;
    if (subscribed?.$case !== "subscribed") throw new Error("subscribed is last");
    expect(subscribed.value.latest.map(({ body }) => body?.value)).toMatchObject([
      { messageId: ids[1], upTo: true, number: 2, upToNumber: 2, singleNumbers: [] },
      { messageId: ids[6], upTo: false, number: 7, upToNumber: 2, singleNumbers: [5, 7, 9] },
    ]);
    // One that is behind the mark is not told, also where the reader has written meanwhile.
    await ben.say(TO_ORDER);
    await ben.confirm(ids[0] ?? "", READ);
    await ben.confirm(ids[8] ?? "", READ);
    await until(() => expect(ann.told("receipt")).toMatchObject([{ number: 9, upTo: true, upToNumber: 10 }]));
    expect(ann.told("receipt")[0]?.singleNumbers).toEqual([]);
  });

  it("are told when they are given again, where the first was kept but not told", async () => {
    const { id } = await ann.say({ recipientId: "boss" });
    const boss = await core.user("boss");
    core.broker.failing.add("update");
    expect(await boss.confirm(id, READ)).toBe(ErrorCode.ERROR_CODE_UNAVAILABLE);
    core.broker.failing.clear();
    await boss.confirm(id, READ);
    const conversation = channelOf("default", "conversation", id.split(".")[1] ?? "");
    expect(await valueKeys(conversation)).toEqual(["receipt:2:boss"]);
  });

  it("are kept but not told where too many read", async () => {
    const { id } = await ann.say(TO_ORDER);
    for (let reader = 2; reader <= MAX_TOLD_READERS; reader++) {
      const mark = { userId: `r${reader}`, kind: "read", number: 1, upTo: true } as const;
      await core.chatMarks.raise(ORDER, mark);
    }
    await ben.confirm(id, READ);
    expect(await ben.unread(["order:42"])).toMatchObject([{ unread: 0 }]);
    expect(await valueKeys()).toEqual([]);
  });

  it("are of those who take part, of messages that were said, and of a kind", async () => {
    const boss = await core.user("boss", { role: "admin" });
    const carl = await core.user("carl");
    const { id } = await ann.say(TO_ORDER);
    expect(await boss.confirm(id, READ)).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    expect(await carl.confirm(id, READ)).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    const ahead = id.replace(/\.1\.1$/, ".9.9");
    expect(await ben.confirm(ahead, READ)).toBe(ErrorCode.ERROR_CODE_NOT_FOUND);
    expect(ben.refusedField).toBe("receipt.message_id");
    expect(await ben.confirm("order:42", READ)).toBe(ErrorCode.ERROR_CODE_INVALID_ARGUMENT);
    expect(await ben.confirm(id, 0)).toBe(ErrorCode.ERROR_CODE_INVALID_ARGUMENT);
    expect(await valueKeys()).toEqual([]);
  });
});

describe("what is not read", () => {
  it("is listed for all channels in which something was said", async () => {
    await core.grant(order("silent"), "ben");
    await ann.say(TO_ORDER);
    await ann.say({ recipientId: "ben" });
    expect(await ben.unread()).toMatchObject([
      { channel: PAIR.name, unread: 1, recipientId: "ann" },
      { channel: "order:42", unread: 1, recipientId: "" },
    ]);
    expect(await ann.unread()).toMatchObject([{ unread: 0 }, { unread: 0 }]);
  });

  it("is listed page by page", async () => {
    const groups = Array.from({ length: 120 }, (_, index) => channelOf("default", "group", `g${index}`));
    for (const group of groups) {
      await core.grant(group, "ann", "member");
      core.memory.chat.countOne(group);
    }
    const first = (await ann.askUnread()) as UnreadPage;
    const second = (await ann.askUnread([], first.nextPageToken)) as UnreadPage;
    // The order, in which nothing was said, has its place in a page.
    expect([first, second].map(({ channels }) => channels.length)).toEqual([100, 20]);
    expect(second.nextPageToken).toBe("");
    const names = [...first.channels, ...second.channels].map(({ channel }) => channel);
    expect(new Set(names).size).toBe(120);
  });

  it("is listed of the orders of one's restaurant, once also where one takes part by name too", async () => {
    const cook = await core.user("cook", { role: "restaurant", claimsJson: '{"restaurant":"r1"}' });
    for (const party of [merchantParty("r1"), "cook"]) await core.grant(ORDER, party, "merchant");
    await core.grant(order("43"), merchantParty("r1"), "merchant");
    await core.grant(order("43"), "ann");
    for (const channel of ["order:42", "order:43"]) await ann.say({ channel });
    expect(await cook.unread()).toMatchObject([
      { channel: "order:42", unread: 1 },
      { channel: "order:43", unread: 1 },
    ]);
    expect(await (await core.user("guest", { role: "restaurant" })).unread()).toEqual([]);
  });

  it("is told of channels that one takes part in only", async () => {
    const carl = await core.user("carl");
    const invalid = ErrorCode.ERROR_CODE_INVALID_ARGUMENT;
    expect(await carl.askUnread(["order:42"])).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    expect(await carl.askUnread(["user:carl"])).toBe(invalid);
    expect(await carl.askUnread(["order:42"], "order:1")).toBe(invalid);
    expect(await carl.askUnread(Array.from({ length: 101 }, () => "order:42"))).toBe(invalid);
    expect(await carl.askUnread()).toEqual({ channels: [], nextPageToken: "" });
  });
});
