import { describe, expect, it } from "vitest";
import { channelOf, isIdentifier } from "#fanout/channel/channel.js";
import { messageIdPrefix, parseMessageId, readMessageId, writeMessageId } from "./message-id.js";

const place = { epoch: "65d0a1f4000c8ab", offset: 9, number: 7 };
const order = channelOf("default", "order", "42");
const write = (channel = order, at = place): string => writeMessageId(messageIdPrefix(channel), at);

describe("a message id", () => {
  it.each(["42", "a.b", "1.2.3", "x.65d0a1f4000c8ab.9.7", "@|+=-_.", "x".repeat(128)])(
    "is read back as what it was made of, in a channel called %s",
    (id) => {
      const channel = channelOf("default", "conversation", id);
      const rotated = { ...place, epoch: "65d0a1f4000c8ab~" };
      for (const at of [place, rotated]) {
        const text = write(channel, at);
        expect(readMessageId("default", text)).toEqual({ channel, ...at, text });
      }
    },
  );

  it("is an identifier itself, also in the conversation of two users", () => {
    const epoch = `${"f".repeat(29)}~`;
    const channel = channelOf("default", "conversation", `pair-${"x".repeat(43)}`);
    expect(isIdentifier(write(channel, { epoch, offset: 1_000_000_000, number: 999_999_999 }))).toBe(true);
  });

  it("belongs to the app of whoever presents it, whatever app it was made in", () => {
    expect(readMessageId("another", write())?.channel).toEqual(channelOf("another", "order", "42"));
  });

  it.each([
    "",
    "m-7",
    "order.42",
    "order.42.65d0a1f4000c8ab.9",
    "order.42.65d0a1f4000c8ab.9.7.",
    " order.42.65d0a1f4000c8ab.9.7",
    "order.42.65d0a1f4000c8ab.9.7\n",
    "order.42.65d0a1f4000c8ab.09.7",
    "order.42.65d0a1f4000c8ab.9.0",
    "order.42.65d0a1f4000c8ab.-9.7",
    "order.42.65d0a1f4000c8ab.9.7e3",
    "order.42.65d0a1f4000c8ab.9007199254740993.7",
    "order.42.65D0A1F4000C8AB.9.7",
    "order.42.65d0a1f4000c8ab~.9.7",
    "order.4:2.65d0a1f4000c8ab.9.7",
    "order.{42}.65d0a1f4000c8ab.9.7",
    "order..65d0a1f4000c8ab.9.7",
    "nothing.42.65d0a1f4000c8ab.9.7",
    "constructor.42.65d0a1f4000c8ab.9.7",
    `order.${"x".repeat(129)}.65d0a1f4000c8ab.9.7`,
    `order.42.${"a".repeat(100_000)}.9.7`,
  ])("is not: %j", (text) => {
    expect(readMessageId("default", text)).toBeUndefined();
    expect(() => parseMessageId("default", text, "receipt.message_id")).toThrow(
      expect.objectContaining({ kind: "invalid_argument", field: "receipt.message_id" }) as Error,
    );
  });
});
