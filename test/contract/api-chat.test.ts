/** What `realtime.api.v1.ChatService` promises. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { status } from "@grpc/grpc-js";
import { conversationOf } from "#fanout/chat/conversation.js";
import { failed, type Json } from "./api-client.js";
import { ApiHarness, channel, NOW_MS, unavailable } from "./api-harness.js";

const PAIR = conversationOf({ app: "default", users: ["u1", "u2"] });
const users = { user_id: "u1", other_user_id: "u2" };
let api: ApiHarness;
beforeEach(async () => {
  api = await ApiHarness.start();
});
afterEach(async () => {
  await api.stop();
});

async function call(name: string, request: Json): Promise<Json> {
  return (await api.client().call("ChatService", name, request)).response;
}

async function send(...items: readonly Json[]): Promise<readonly Json[]> {
  return (await call("SendMessages", { items }))["results"] as readonly Json[];
}

const toOrder = (more: Json = {}): Json => ({ channel: "order:42", content: "hello", ...more });

describe("SendMessages", () => {
  it("says messages of the system and of users, in order, each with its id, number and position", async () => {
    const results = await send(
      toOrder({ content: "one" }),
      toOrder({ content: "two", sender_id: "u1", sender_role: "customer", time_ms: NOW_MS - 5 }),
    );
    const stored = await api.broker.eventsIn("order:42");
    expect(stored.map(({ sender, timeMs }) => [sender?.userId, sender?.role, timeMs])).toEqual([
      ["", "service", NOW_MS],
      ["u1", "customer", NOW_MS - 5],
    ]);
    expect(stored.map(({ body }) => body?.value)).toMatchObject([
      { messageId: results[0]?.["message_id"], content: "one", number: 1 },
      { messageId: results[1]?.["message_id"], content: "two", number: 2 },
    ]);
    expect(results).toMatchObject([
      { channel: "order:42", position: { offset: 1 }, number: 1, repeated: false, error: null },
      { channel: "order:42", position: { offset: 2 }, number: 2, repeated: false, error: null },
    ]);
  });

  it("begins the conversation of two users, who take part from then on", async () => {
    const [result] = await send({ users, sender_id: "u2", content: "hello" });
    expect(result).toMatchObject({ channel: PAIR.name, number: 1, error: null });
    const parts = await api.directory.participants(PAIR);
    expect(parts.map(({ userId, relation }) => [userId, relation])).toEqual([
      ["u1", "member"],
      ["u2", "member"],
    ]);
    const [event] = await api.broker.eventsIn(PAIR.name);
    expect(event?.body).toMatchObject({ value: { recipientId: "u1" } });
  });

  it("says an item once that is sent again with its id", async () => {
    const item = toOrder({ client_message_id: "cm-1", sender_id: "u1" });
    const [first] = await send(item);
    expect(await send(item, item)).toEqual([
      { ...first, repeated: true },
      { ...first, repeated: true },
    ]);
    await send(toOrder(), toOrder());
    expect(await api.broker.eventsIn("order:42")).toHaveLength(3);
  });

  it.each<[string, Json, string]>([
    ["without a target", { content: "x" }, "items[1].target"],
    ["to a channel in which nothing is said", toOrder({ channel: "user:u1" }), "items[1].channel"],
    ["without content", toOrder({ content: "" }), "items[1].content"],
    ["of a type that is none", toOrder({ message_type: "a b" }), "items[1].message_type"],
    ["of a sender who is no user", toOrder({ sender_id: "a b" }), "items[1].sender_id"],
    ["of a third to a pair", { users, sender_id: "u3", content: "x" }, "items[1].sender_id"],
    ["of the far future", toOrder({ time_ms: NOW_MS + 3_600_000 }), "items[1].time_ms"],
    [
      "to oneself",
      { users: { user_id: "u1", other_user_id: "u1" }, content: "x" },
      "items[1].users.other_user_id",
    ],
  ])("refuses an item %s, and says the others", async (_, item, field) => {
    const results = await send(toOrder(), item, toOrder());
    expect(results.map(({ error }) => (error as Json | null)?.["field"])).toEqual([
      undefined,
      field,
      undefined,
    ]);
    expect(await api.broker.eventsIn("order:42")).toHaveLength(2);
  });

  it("is UNAVAILABLE while the store is away", async () => {
    api.broker.fault = () => Promise.reject(unavailable());
    expect(await failed(call("SendMessages", { items: [toOrder()] }))).toMatchObject({
      code: status.UNAVAILABLE,
    });
  });
});

describe("what users have not read", () => {
  it("is told for channels by name and for all, and is moved by MarkRead, which the others hear of", async () => {
    await send({ users, sender_id: "u1", content: "one" }, { users, sender_id: "u1", content: "two" });
    const [order] = await send(toOrder());
    const about = async (request: Json): Promise<unknown> =>
      (await call("GetUnread", { user_id: "u2", ...request }))["channels"];
    expect(await about({})).toMatchObject([{ channel: PAIR.name, unread: 2, recipient_id: "u1" }]);
    expect(await about({ channels: ["order:42", PAIR.name] })).toMatchObject([
      { channel: PAIR.name, unread: 2 },
      { channel: "order:42", unread: 1, recipient_id: "" },
    ]);
    const message_id = order?.["message_id"];
    expect(await call("MarkRead", { user_id: "u2", message_id })).toMatchObject({
      unread: { channel: "order:42", unread: 0, read_number: 1 },
    });
    const { latest } = await api.broker.state(channel("order:42"));
    expect(latest.map(({ key }) => key)).toEqual(["receipt:2:u2"]);
  });

  it.each<[string, Json, status]>([
    ["GetUnread", { user_id: "" }, status.INVALID_ARGUMENT],
    ["GetUnread", { user_id: "u1", channels: ["nothing:1"] }, status.NOT_FOUND],
    ["MarkRead", { user_id: "u1", message_id: "m-7" }, status.INVALID_ARGUMENT],
    ["MarkRead", { user_id: "u1", message_id: "order.42.abc.9.9" }, status.NOT_FOUND],
    ["MarkRead", { user_id: "", message_id: "order.42.abc.9.9" }, status.INVALID_ARGUMENT],
  ])("is refused: %s %j", async (name, request, code) => {
    expect(await failed(call(name, request))).toMatchObject({ code });
  });
});

describe("ListMessages", () => {
  interface Page {
    readonly texts: readonly string[];
    readonly next: Json | null;
  }

  async function page(request: Json): Promise<Page> {
    const response = await call("ListMessages", { channel: "order:42", ...request });
    const events = response["events"] as readonly { chat_message: { content: string } }[];
    return {
      texts: events.map(({ chat_message: { content } }) => content),
      next: response["next"] as Json | null,
    };
  }

  it("pages through what was said, in both directions, and leaves out what else happened", async () => {
    await api
      .client()
      .publish([{ channel: "order:42", event: { order_status: { order_id: "42", status: "a" } } }]);
    for (const content of ["one", "two", "three", "four"]) await send(toOrder({ content }));
    expect(await page({})).toEqual({ texts: ["one", "two", "three", "four"], next: null });
    const newest = await page({ backward: true, limit: 3 });
    expect(newest.texts).toEqual(["four", "three", "two"]);
    expect(await page({ backward: true, limit: 3, from: newest.next })).toEqual({
      texts: ["one"],
      next: null,
    });
    const oldest = await page({ limit: 3 });
    expect(oldest.texts).toEqual(["one", "two"]);
    expect((await page({ from: oldest.next })).texts).toEqual(["three", "four"]);
  });

  it.each<[Json, status]>([
    [{ limit: 501 }, status.INVALID_ARGUMENT],
    [{ channel: "user:u1" }, status.INVALID_ARGUMENT],
    [{ channel: "nothing:1" }, status.NOT_FOUND],
    [{ from: { epoch: "another", offset: 1 } }, status.DEADLINE_EXCEEDED],
  ])("is refused: %j", async (request, code) => {
    await send(toOrder());
    expect(await failed(page(request))).toMatchObject({ code });
  });
});
