import { describe, expect, it } from "vitest";
import { channelOf, isIdentifier, parseChannelName, userChannel } from "./channel.js";

describe("a channel's name", () => {
  it.each(["order:42", "user:a.b@c|d+e=f-g_h", `order:${"x".repeat(128)}`])("%s is read", (name) => {
    expect(parseChannelName("app", name, "f")).toMatchObject({ app: "app", name, key: `app/${name}` });
  });

  it.each([
    "",
    ":",
    "order",
    "order:",
    ":42",
    "order:4:2",
    "order:{42}",
    "order:4*",
    "order:4\n2",
    "order:4 2",
    "order:4/2",
    "order:ü",
    "or der:42",
    `order:${"x".repeat(129)}`,
    `${"o".repeat(10_000)}:42`,
  ])("%j is refused, naming the field", (name) => {
    expect(() => parseChannelName("app", name, "subscribe.channel")).toThrow(
      expect.objectContaining({ kind: "invalid_argument", field: "subscribe.channel" }) as Error,
    );
  });

  it("is another channel in another app", () => {
    expect(channelOf("a", "user", "u1").key).not.toBe(userChannel("b", "u1").key);
    expect(isIdentifier("a/b")).toBe(false);
  });
});
