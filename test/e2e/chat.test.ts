/** Chat through edges, fanouts, Redis and Kafka: conversations, changes, receipts, what is not read, typing. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { ReceiptKind } from "#proto/gen/realtime/client/v1/event.js";
import type { Reply } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { asJson, EventTopics } from "./event-topics.js";

const TYPING_TTL_MS = 1_500;
const WAIT_MS = 10_000;

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ edges: 2, fanouts: 2, env: { TYPING_TTL: `${TYPING_TTL_MS}ms` } });
});
afterAll(() => cluster.stop());

type Target = { readonly channel: string } | { readonly recipientId: string };

function toTarget(target: Target) {
  if ("channel" in target) return { $case: "channel", value: target.channel } as const;
  return { $case: "recipientId", value: target.recipientId } as const;
}

function chatSend(target: Target, content: string, clientMessageId = "") {
  const value = { target: toTarget(target), content, messageType: "", clientMessageId };
  return { $case: "chatSend", value } as const;
}

async function say(from: AppClient, target: Target, content: string, clientMessageId = ""): Promise<Reply> {
  const body = await from.request(chatSend(target, content, clientMessageId));
  if (body.$case !== "reply") throw new Error(`refused: ${JSON.stringify(body)}`);
  return body.value;
}

async function errorOf(answer: ReturnType<AppClient["request"]>): Promise<ErrorCode | undefined> {
  const body = await answer;
  return body.$case === "error" ? body.value.code : undefined;
}

const until = (what: string, condition: () => boolean) => waitFor(condition, { what, timeoutMs: WAIT_MS });

function contents(client: AppClient, channel: string): string[] {
  return client.eventsOf(channel, "chatMessage").flatMap(({ body }) => {
    return body?.$case === "chatMessage" ? [body.value.content] : [];
  });
}

function told(client: AppClient, type: "receipt" | "typing" | "unread"): Record<string, unknown>[] {
  return client.events.flatMap(({ body }) => (body?.$case === type ? [{ ...body.value }] : []));
}

async function unreadOf(client: AppClient, channels: string[] = []): Promise<Record<string, unknown>[]> {
  const body = await client.request({ $case: "unread", value: { channels, pageToken: "" } });
  if (body.$case !== "unreadPage") throw new Error(`no page: ${JSON.stringify(body)}`);
  return body.value.channels.map((channel) => ({ ...channel }));
}

/** Two users who have a conversation, on devices at both edges. */
async function conversation() {
  const [ann, ben] = [`ann-${randomUUID()}`, `ben-${randomUUID()}`];
  const annsPhone = await cluster.connect(0, ann, "customer");
  const annsTablet = await cluster.connect(1, ann, "customer", { framing: "protobuf" });
  const bensPhone = await cluster.connect(1, ben, "porter");
  const first = await say(annsPhone, { recipientId: ben }, "first");
  const channel = first.channel ?? "";
  for (const device of [annsPhone, annsTablet, bensPhone]) await device.subscribe(channel);
  return { ann, ben, annsPhone, annsTablet, bensPhone, first, channel };
}

describe("a conversation", () => {
  it("is found by the other user, and reaches every device of both", async () => {
    const { ann, ben, annsPhone, annsTablet, bensPhone, channel } = await conversation();
    const bensTablet = await cluster.connect(0, ben, "porter");
    await bensTablet.subscribe(channel);
    const second = await say(bensPhone, { recipientId: ann }, "second");
    expect(second.channel).toBe(channel);
    await say(annsPhone, { channel }, "third");
    const devices = [annsPhone, annsTablet, bensPhone, bensTablet];
    await until("both messages on every device", () =>
      devices.every((device) => contents(device, channel).join() === "second,third"),
    );
    const [message] = annsTablet.eventsOf(channel, "chatMessage");
    expect(message).toMatchObject({
      sender: { userId: ben, role: "porter" },
      body: { value: { messageId: second.id, number: 2, recipientId: ann } },
    });
    const stranger = await cluster.connect(0, `carl-${randomUUID()}`, "customer");
    expect(await errorOf(stranger.request(chatSend({ channel }, "hi")))).toBe(
      ErrorCode.ERROR_CODE_PERMISSION_DENIED,
    );
  });

  it("has one message for one client id, from either device, with the same answer", async () => {
    const { annsPhone, annsTablet, bensPhone, channel } = await conversation();
    const first = await say(annsPhone, { channel }, "once", "cm-1");
    expect(await say(annsTablet, { channel }, "again", "cm-1")).toEqual(first);
    await say(annsPhone, { channel }, "last");
    await until("the last message", () => contents(bensPhone, channel).includes("last"));
    expect(contents(bensPhone, channel)).toEqual(["once", "last"]);
  });

  it("numbers what both say at once without a gap, in one order for all", async () => {
    const { annsPhone, annsTablet, bensPhone, channel } = await conversation();
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        say(index % 2 === 0 ? annsPhone : bensPhone, { channel }, `m${index}`),
      ),
    );
    const devices = [annsPhone, annsTablet, bensPhone];
    await until("all messages", () => devices.every((device) => contents(device, channel).length === 20));
    const orders = devices.map((device) => contents(device, channel).join());
    expect(new Set(orders).size).toBe(1);
    const numbers = annsPhone.eventsOf(channel, "chatMessage").map(({ body }) => {
      return body?.$case === "chatMessage" ? body.value.number : 0;
    });
    expect(numbers).toEqual(numbers.map((_, index) => index + 2));
  });

  it("gives its history page by page, with changes as events, to those who take part", async () => {
    const { annsPhone, bensPhone, channel, first } = await conversation();
    const second = await say(annsPhone, { channel }, "second");
    const edit = { messageId: second.id, content: "second, better" };
    expect(await errorOf(bensPhone.request({ $case: "chatEdit", value: edit }))).toBe(
      ErrorCode.ERROR_CODE_PERMISSION_DENIED,
    );
    const remove = { $case: "chatDelete", value: { messageId: first.id } } as const;
    expect(await errorOf(bensPhone.request(remove))).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    expect(await annsPhone.request({ $case: "chatEdit", value: edit })).toMatchObject({ $case: "reply" });
    const admin = await cluster.connect(1, "boss", "admin");
    expect(await admin.request(remove)).toMatchObject({ $case: "reply", value: { id: first.id } });
    expect(
      await errorOf(annsPhone.request({ $case: "chatEdit", value: { ...edit, messageId: first.id } })),
    ).toBe(ErrorCode.ERROR_CODE_NOT_FOUND);
    const page = async (from?: Reply["position"]) => {
      const history = { channel, from, backward: false, limit: 3 };
      const body = await bensPhone.request({ $case: "history", value: history });
      if (body.$case !== "historyPage") throw new Error(`no page: ${JSON.stringify(body)}`);
      return body.value;
    };
    const oldest = await page();
    expect(oldest.events.map(({ body }) => body)).toMatchObject([
      { $case: "chatMessage", value: { content: "first", number: 1 } },
      { $case: "chatMessage", value: { content: "second", number: 2 } },
      { $case: "chatEdited", value: edit },
    ]);
    const newest = await page(oldest.next);
    expect(newest.events.map(({ body }) => body)).toEqual([
      { $case: "chatDeleted", value: { messageId: first.id } },
    ]);
    expect(newest.next).toBeUndefined();
  });
});

describe("receipts", () => {
  it("take a message from sent over delivered to read, and one is enough for many", async () => {
    const { ann, ben, annsPhone, bensPhone, channel } = await conversation();
    for (let index = 0; index < 10; index++) await say(annsPhone, { channel }, `m${index}`);
    const last = await say(annsPhone, { channel }, "last");
    expect(await unreadOf(bensPhone, [channel])).toMatchObject([{ unread: 12, lastNumber: 12 }]);
    const confirm = (kind: ReceiptKind) =>
      bensPhone.request({ $case: "receipt", value: { messageId: last.id, kind, upTo: true } });
    expect(await confirm(ReceiptKind.RECEIPT_KIND_DELIVERED)).toMatchObject({ $case: "reply" });
    expect(await confirm(ReceiptKind.RECEIPT_KIND_READ)).toMatchObject({ $case: "reply" });
    await until("both receipts", () => told(annsPhone, "receipt").length === 2);
    const marked = { upToNumber: 12, singleNumbers: [] };
    const receipt = { userId: ben, messageId: last.id, upTo: true, number: 12, ...marked };
    expect(told(annsPhone, "receipt")).toEqual([
      { ...receipt, kind: ReceiptKind.RECEIPT_KIND_DELIVERED },
      { ...receipt, kind: ReceiptKind.RECEIPT_KIND_READ },
    ]);
    expect(await unreadOf(bensPhone)).toMatchObject([{ channel, unread: 0, readNumber: 12 }]);
    // Who comes later finds the newest with the channel.
    const annsLaptop = await cluster.connect(1, ann, "customer");
    const { latest } = await annsLaptop.subscribe(channel);
    expect(latest.map(({ body }) => body?.$case)).toEqual(["receipt", "receipt"]);
  });

  it("count what is not read for who was away, who is told of it on coming back", async () => {
    const { ann, ben, annsPhone, bensPhone, channel } = await conversation();
    bensPhone.websocket.close();
    await bensPhone.closed;
    await say(annsPhone, { channel }, "second");
    const back = await cluster.connect(0, ben, "porter");
    const [subscribed] = await back.until(
      () => {
        const found = back.frames.flatMap(({ body }) => (body?.$case === "subscribed" ? [body.value] : []));
        return found.length > 0 ? found : undefined;
      },
      { what: "subscribed to the user's own channel", timeoutMs: WAIT_MS },
    );
    expect(subscribed?.latest.map(({ body }) => body?.value)).toMatchObject([
      { channel, unread: 2, lastNumber: 2, recipientId: ann },
    ]);
    // Someone who follows nothing but their own channel hears of the next one.
    await say(annsPhone, { channel }, "third");
    await until("three unread messages", () => told(back, "unread").some(({ unread }) => unread === 3));
    expect(await unreadOf(back)).toMatchObject([{ channel, unread: 3, recipientId: ann }]);
  });
});

describe("typing", () => {
  it("is not sent back, ends by itself, and is not stored", async () => {
    const { ann, annsPhone, annsTablet, bensPhone, channel } = await conversation();
    const typing = (isTyping: boolean) => {
      const value = { target: toTarget({ channel }), typing: isTyping };
      return annsPhone.request({ $case: "typing", value });
    };
    expect(await typing(true)).toMatchObject({ $case: "reply" });
    const { connectionId } = await annsPhone.welcome();
    for (const device of [annsTablet, bensPhone]) {
      await until("the start and the end", () => told(device, "typing").length === 2);
      expect(told(device, "typing")).toEqual([
        { userId: ann, connectionId, typing: true },
        { userId: ann, connectionId, typing: false },
      ]);
    }
    await typing(true);
    await typing(false);
    await until("the second end", () => told(bensPhone, "typing").length === 4);
    // What comes behind it on the same way shows that nothing came back.
    await say(annsPhone, { channel }, "done");
    await until("the message", () => contents(annsPhone, channel).includes("done"));
    expect(told(annsPhone, "typing")).toEqual([]);
    const history = { channel, from: undefined, backward: false, limit: 0 };
    const body = await annsPhone.request({ $case: "history", value: history });
    const events = body.$case === "historyPage" ? body.value.events : [];
    expect(events.map(({ body: said }) => said?.$case)).toEqual(["chatMessage", "chatMessage"]);
  });
});

describe("other services", () => {
  it("say messages through the API, and read what users have not read", async () => {
    const { ann, ben, bensPhone, channel } = await conversation();
    const call = async (name: string, request: object) =>
      (await cluster.api(1).call("ChatService", name, { app: cluster.app, ...request })).response;
    const item = {
      app: cluster.app,
      users: { user_id: ben, other_user_id: ann },
      content: "from the system",
    };
    const { results } = await call("SendMessages", { items: [item] });
    expect(results).toMatchObject([{ channel, number: 2, error: null }]);
    await until("the system's word", () => contents(bensPhone, channel).includes("from the system"));
    expect(await call("GetUnread", { user_id: ben })).toMatchObject({ channels: [{ channel, unread: 2 }] });
    expect(await call("ListMessages", { channel })).toMatchObject({
      events: [{ chat_message: { content: "first" } }, { chat_message: { content: "from the system" } }],
      next: null,
    });
  });

  it("read messages from Kafka, and what comes back with the gateway's id is not said twice", async () => {
    const { ann, ben, annsPhone, bensPhone, channel, first } = await conversation();
    const topics = await EventTopics.connect(inject("kafkaBrokers"));
    try {
      const said = (eventId: string, data: object) =>
        asJson({
          eventId,
          type: "message.sent",
          app: cluster.app,
          data: { senderId: ann, recipientId: ben, ...data },
        });
      const outside = { messageId: "m-7", content: "from outside" };
      await topics.write(
        cluster.topics.notifications,
        0,
        said(randomUUID(), { messageId: first.id, content: "first" }),
        said(randomUUID(), outside),
        said(randomUUID(), outside),
        said(randomUUID(), { content: "last" }),
      );
      await until("the last message", () => contents(bensPhone, channel).includes("last"));
      expect(contents(bensPhone, channel)).toEqual(["from outside", "last"]);
      await until("the last message on the sender's", () => contents(annsPhone, channel).length === 2);
    } finally {
      await topics.close();
    }
  });

  it("hear of messages and their changes in Kafka, each once and in order", async () => {
    const { ann, ben, annsPhone, channel, first } = await conversation();
    const second = await say(annsPhone, { channel }, "second", "cm-1");
    await say(annsPhone, { channel }, "again", "cm-1");
    const { id: messageId } = second;
    await annsPhone.request({ $case: "chatEdit", value: { messageId, content: "better" } });
    await annsPhone.request({ $case: "receipt", value: { messageId, kind: 2, upTo: true } });
    await annsPhone.request({ $case: "chatDelete", value: { messageId } });
    const topics = await EventTopics.connect(inject("kafkaBrokers"));
    try {
      const read = await topics.read("chat-events", `read-${randomUUID()}`);
      const written = () =>
        read
          .map(
            ({ value }) =>
              JSON.parse(value) as { eventId: string; type: string; data: Record<string, unknown> },
          )
          .filter(({ data }) => data["channel"] === channel);
      await waitFor(() => written().some(({ type }) => type === "chat.message.deleted"), {
        what: "the deletion in chat-events",
        timeoutMs: 30_000,
      });
      const unique = [...new Map(written().map((event) => [event.eventId, event])).values()];
      expect(unique.map(({ type, data }) => [type, data["messageId"], data["number"]])).toEqual([
        ["chat.message.sent", first.id, 1],
        ["chat.message.sent", messageId, 2],
        ["chat.message.edited", messageId, undefined],
        ["chat.message.deleted", messageId, undefined],
      ]);
      expect(unique[1]?.data).toMatchObject({ senderId: ann, recipientId: ben, clientMessageId: "cm-1" });
    } finally {
      await topics.close();
    }
  });
});
