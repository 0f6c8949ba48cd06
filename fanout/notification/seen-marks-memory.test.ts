/** Seen marks in this process: the contract, and what is forgotten. */
import { expect, it } from "vitest";
import { channelOf } from "#fanout/channel/channel.js";
import { SEEN_TTL_MS } from "./seen-marks.js";
import { MemorySeenMarks } from "./seen-marks-memory.js";
import { describeSeenMarks } from "./seen-marks.contract.js";

describeSeenMarks("seen marks in memory", async () => {
  const marks = new MemorySeenMarks();
  return { marks, others: marks, close: () => Promise.resolve() };
});

it("forgets users who have not seen anything for as long as marks are kept", async () => {
  let nowMs = 1_790_000_000_000;
  const marks = new MemorySeenMarks({ clock: { nowUs: () => nowMs * 1000 } });
  const see = (userId: string) =>
    marks.raise({ app: "default", userId }, channelOf("default", "user", userId), {
      epoch: "e",
      offset: 1,
      upTo: true,
    });
  await see("u1");
  nowMs += SEEN_TTL_MS - 1;
  await see("u2");
  expect(marks.size).toBe(2);
  nowMs += 1;
  await see("u2");
  expect(marks.size).toBe(1);
});
