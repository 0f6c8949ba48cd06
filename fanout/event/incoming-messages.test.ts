import { describe, expect, it } from "vitest";
import { channelOf } from "#fanout/channel/channel.js";
import { conversationOf } from "#fanout/chat/conversation.js";
import { messageIdPrefix, writeMessageId } from "#fanout/chat/message-id.js";
import type { CheckedEnvelope } from "./envelope.js";
import { EventFields } from "./event-fields.js";
import { UnreadableRecord } from "./event-source.js";
import { messageOf } from "./incoming-messages.js";

const ENVELOPE: CheckedEnvelope = {
  eventId: "e1",
  type: "message.sent",
  occurredAtMs: 1_790_000_000_000,
  correlationId: "c-1",
  traceparent: "",
  app: "shop",
  version: 0,
  data: {},
};
const BETWEEN = { senderId: "u1", recipientId: "u2", message: "hello" };

const read = (data: object) => messageOf(ENVELOPE, new EventFields({ ...data }));

describe("a message of another service", () => {
  it("goes to the conversation of its two users, who take part by it", () => {
    const users = ["u1", "u2"] as const;
    expect(read(BETWEEN)).toEqual({
      channel: conversationOf({ app: "shop", users }),
      users,
      author: { userId: "u1", role: "user" },
      text: { content: "hello", messageType: "text", clientMessageId: "" },
      timeMs: 1_790_000_000_000,
      cause: { requestKey: "e1", correlationId: "c-1", traceparent: "" },
    });
  });

  it.each([
    [{ conversationId: "c1" }, "conversation:c1", ["u1", "u2"]],
    [{ groupId: "g1", recipientId: undefined }, "group:g1", undefined],
    [{ orderId: 42 }, "order:42", undefined],
    [{ conversationId: "c1", senderId: undefined }, "conversation:c1", undefined],
  ])("goes where %j says: %s", (target, name, users) => {
    const said = read({ ...BETWEEN, ...target });
    expect(said?.channel.name).toBe(name);
    expect(said?.users).toEqual(users);
  });

  it("is nobody's where no sender is named", () => {
    const message = read({ conversationId: "c1", content: "Welcome" });
    expect(message).toMatchObject({ author: { userId: "", role: "service" }, users: undefined });
  });

  it("is known by its own id and by that of the app that sent it", () => {
    const own = read({ ...BETWEEN, messageId: "m-7" });
    expect(own).toMatchObject({ cause: { requestKey: "outside\nm-7" }, text: { clientMessageId: "m-7" } });
    const both = read({ ...BETWEEN, messageId: "m-7", clientMessageId: "cm-1" });
    expect(both).toMatchObject({ cause: { requestKey: "outside\nm-7" }, text: { clientMessageId: "cm-1" } });
  });

  it("that comes back under the gateway's id is not said again", () => {
    const place = { epoch: "65d0a1f4000c8ab", offset: 9, number: 7 };
    const id = (channel: string) =>
      writeMessageId(messageIdPrefix(channelOf("shop", "conversation", channel)), place);
    const said = { ...BETWEEN, conversationId: "c1" };
    expect(read({ ...said, messageId: id("c1") })).toBeUndefined();
    expect(read({ ...said, messageId: id("c2") })?.channel.name).toBe("conversation:c1");
  });

  it.each([
    [{}, "data.conversationId must be given"],
    [{ recipientId: "u2", message: "x" }, "data.conversationId must be given"],
    [{ senderId: "u1", recipientId: "u1", message: "x" }, "data.conversationId must be given"],
    [{ ...BETWEEN, message: "" }, "data.content: a message needs content"],
    [{ ...BETWEEN, message: "é".repeat(9_000) }, "data.content: a message has at most 16384 bytes"],
    [{ ...BETWEEN, message: { text: "x" } }, "data.message must be a string"],
    [{ ...BETWEEN, messageType: "a b" }, "data.messageType: it has 1 to 64"],
    [{ ...BETWEEN, clientMessageId: "a\nb" }, "data.clientMessageId: it has no control characters"],
    [{ ...BETWEEN, conversationId: "a b" }, "data.conversationId must be 1 to 128"],
    [{ ...BETWEEN, senderId: "*" }, "data.senderId must be 1 to 128"],
  ])("is unreadable: %j", (data, reason) => {
    expect(() => read(data)).toThrow(UnreadableRecord);
    expect(() => read(data)).toThrow(reason);
  });
});
