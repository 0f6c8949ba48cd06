import { describe, expect, it } from "vitest";
import { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { channelOf } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import type { Participation } from "#fanout/directory/directory.js";
import { CHAT_KINDS, mayBeginConversation, mayGiveReceipts, mayModerate } from "./policy.js";

const ROLES = ["customer", "porter", "restaurant", "user", "an unknown role", "", "admin", "anonymous"];

const as = (role: string): Principal => Principal.fromPartial({ app: "default", userId: "u1", role });
const those = (may: (principal: Principal) => boolean): string[] => ROLES.filter((role) => may(as(role)));

describe("chat", () => {
  it("is in channels in which who takes part may publish", () => {
    expect([...CHAT_KINDS].sort()).toEqual(["booking", "conversation", "group", "order", "ride"]);
    for (const kind of CHAT_KINDS) expect(CHANNEL_KINDS.has(kind)).toBe(true);
  });

  it("between two users is begun by all who have a name, or by admins alone", () => {
    const open = those((principal) => mayBeginConversation(principal, { isOpen: true }));
    expect(open).toEqual(ROLES.filter((role) => role !== "anonymous"));
    expect(those((principal) => mayBeginConversation(principal, { isOpen: false }))).toEqual(["admin"]);
  });

  it("is moderated by admins", () => {
    expect(those(mayModerate)).toEqual(["admin"]);
  });

  it("has receipts of those who take part, whoever they are, where something is said", () => {
    const part = (kind: string): Participation => ({
      channel: channelOf("default", kind, "1"),
      userId: "u1",
      relation: "member",
      expiresAtMs: 1,
    });
    expect(mayGiveReceipts(undefined)).toBe(false);
    for (const kind of CHANNEL_KINDS.keys()) expect(mayGiveReceipts(part(kind))).toBe(CHAT_KINDS.has(kind));
  });
});
