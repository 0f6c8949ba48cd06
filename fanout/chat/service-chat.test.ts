import { beforeEach, describe, expect, it } from "vitest";
import { channelOf } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import type { Participation } from "#fanout/directory/directory.js";
import type { MessageToSend, Stored } from "./chat.js";
import { conversationOf } from "./conversation.js";
import { Conversations } from "./conversations.js";
import { ServiceChat } from "./service-chat.js";

const TTL_MS = CHANNEL_KINDS.get("conversation")?.participationTtlMs ?? 0;
const users = ["u1", "u2"] as const;
const channel = conversationOf({ app: "default", users });
let nowMs: number;
let granted: Participation[];
let sent: MessageToSend[];
let isKnown: boolean;
let directory: MemoryDirectory;
let services: ServiceChat;

beforeEach(() => {
  nowMs = 1_790_000_000_000;
  granted = [];
  sent = [];
  isKnown = false;
  const clock = { nowUs: () => nowMs * 1000 };
  directory = new MemoryDirectory({ clock });
  const grant = async (part: Participation): Promise<void> => {
    granted.push(part);
    await directory.grant(part);
  };
  const send = async (message: MessageToSend): Promise<Stored> => {
    sent.push(message);
    const position = { epoch: "e", offset: 1, tag: 1 };
    return Promise.resolve({ outcome: "published", messageId: "", number: 1, position, timeMs: nowMs });
  };
  const conversations = new Conversations({ directory, participations: { grant }, clock, isOpen: false });
  services = new ServiceChat({
    chat: { send, wasSaid: () => Promise.resolve(isKnown) },
    conversations,
    directory,
  });
});

function message(more: Partial<MessageToSend> = {}): MessageToSend {
  return {
    channel,
    users,
    author: { userId: "u1", role: "user" },
    text: { content: "hello", messageType: "text", clientMessageId: "" },
    cause: { requestKey: "r", correlationId: "", traceparent: "" },
    ...more,
  };
}

describe("a message of a service", () => {
  it("lets both take part once, and again before their parts end", async () => {
    await services.say(message());
    await services.say(message());
    expect(granted).toEqual(
      users.map((userId) => ({ channel, userId, relation: "member", expiresAtMs: nowMs + TTL_MS })),
    );
    nowMs += TTL_MS / 2 + 1;
    await services.say(message());
    expect(granted.slice(2).map(({ expiresAtMs }) => expiresAtMs)).toEqual([nowMs + TTL_MS, nowMs + TTL_MS]);
    expect(sent.map((each) => each.users)).toEqual([users, users, users]);
  });

  it("that is read again long after grants nothing that is over", async () => {
    await services.say(message({ timeMs: nowMs - TTL_MS }));
    expect(granted).toEqual([]);
    await services.say(message({ timeMs: nowMs - TTL_MS + 1 }));
    expect(granted.map(({ expiresAtMs }) => expiresAtMs)).toEqual([nowMs + 1, nowMs + 1]);
  });

  it("that was said before does not begin again what was ended since", async () => {
    await services.say(message());
    await directory.end(channel, "u2");
    nowMs += 3_600_000;
    isKnown = true;
    await services.say(message());
    expect(granted).toHaveLength(2);
    // Nobody is told what they have not read in it.
    expect(sent.at(-1)?.users).toBeUndefined();
    isKnown = false;
    await services.say(message());
    expect(granted.slice(2)).toMatchObject([{ userId: "u2" }]);
  });

  it("knows the two of a conversation that is named by its channel, and nobody of others", async () => {
    const named = message({ users: undefined });
    await services.say(named);
    await services.say(message());
    await services.say(named);
    await directory.grant({ channel, userId: "u3", relation: "member", expiresAtMs: nowMs + 1000 });
    await services.say(named);
    await services.say(message({ channel: channelOf("default", "group", "g1"), users: undefined }));
    expect(sent.map((each) => each.users?.length)).toEqual([undefined, 2, 2, undefined, undefined]);
  });
});
