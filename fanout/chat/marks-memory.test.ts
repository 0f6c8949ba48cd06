/** Marks in this process: the contract, and what is forgotten. */
import { expect, it } from "vitest";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { channelOf } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { MemoryChatRecords } from "./chat-records-memory.js";
import { MemoryChatMarks } from "./marks-memory.js";
import { describeChatMarks } from "./marks.contract.js";

describeChatMarks("marks in memory", async () => {
  const channels = new MemoryChannels();
  return {
    marks: new MemoryChatMarks(channels.chat),
    others: new MemoryChatMarks(channels.chat),
    broker: new MemoryBroker({ channels }),
    close: () => Promise.resolve(),
  };
});

it("forgets a channel in which nothing happened for as long as a part lasts", async () => {
  let nowMs = 1_790_000_000_000;
  const records = new MemoryChatRecords({ nowUs: () => nowMs * 1000 });
  const marks = new MemoryChatMarks(records);
  const order = channelOf("default", "order", "42");
  const lifetimeMs = CHANNEL_KINDS.get("order")?.participationTtlMs ?? 0;
  records.countOne(order);
  nowMs += lifetimeMs - 1;
  await marks.raise(order, { userId: "u2", kind: "read", number: 1, upTo: true });
  nowMs += lifetimeMs - 1;
  expect(await marks.standings([order], "u2")).toMatchObject([{ lastNumber: 1, unread: 0 }]);
  nowMs += 1;
  expect(await marks.standings([order], "u2")).toMatchObject([{ lastNumber: 0 }]);
  records.countOne(channelOf("default", "order", "43"));
  expect(records.size).toBe(1);
});
