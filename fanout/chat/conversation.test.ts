import { describe, expect, it } from "vitest";
import { isIdentifier } from "#fanout/channel/channel.js";
import { conversationOf } from "./conversation.js";

const of = (one: string, other: string, app = "default"): string =>
  conversationOf({ app, users: [one, other] }).id;

describe("the conversation of two users", () => {
  it("is the same whichever of them comes first, in each app", () => {
    expect(of("u1", "u2")).toBe(of("u2", "u1"));
    expect(of("é", "z")).toBe(of("z", "é"));
    expect(conversationOf({ app: "shop", users: ["u1", "u2"] })).toMatchObject({
      app: "shop",
      kind: "conversation",
    });
  });

  it("is another one for each other pair, however their ids could be put together", () => {
    const ids = ["a", "b", "ab", "a+b", "a|b", "b+a", '"', '","', "a,b", "", " "];
    const pairs = ids.flatMap((one, index) => ids.slice(index + 1).map((other) => of(one, other)));
    expect(new Set(pairs).size).toBe(pairs.length);
  });

  it("has an id within the grammar, also for the longest user ids", () => {
    for (const id of [of("u1", "u2"), of("x".repeat(128), "y".repeat(128)), of("auth0|1", "é\n:{}*")]) {
      expect(isIdentifier(id)).toBe(true);
      expect(id).toHaveLength("pair-".length + 43);
    }
  });

  it("stays what it was: channels are found by it for years", () => {
    expect(of("u1", "u2")).toBe("pair-o2-P7ovbSxthxu5VS3iPrQ-a6eiVRHVvk4cFabzishw");
  });
});
