/** The directory in memory: the contract, and how it forgets. */
import { expect, it } from "vitest";
import { channelOf } from "#fanout/channel/channel.js";
import { MemoryDirectory } from "./directory-memory.js";
import { describeDirectory } from "./directory.contract.js";

describeDirectory("the directory in memory", async () => ({
  directory: new MemoryDirectory(),
  close: async () => undefined,
}));

it("forgets a part when its time is over, and sweeps what nobody asks for", async () => {
  let nowMs = 1_000_000;
  const directory = new MemoryDirectory({ clock: { nowUs: () => nowMs * 1000 } });
  const grant = (id: string): Promise<void> =>
    directory.grant({
      channel: channelOf("app", "order", id),
      userId: "u1",
      relation: "owner",
      expiresAtMs: nowMs + 1_000,
    });
  await grant("1");
  nowMs += 999;
  expect(await directory.participationsOf("app", "u1")).toHaveLength(1);
  nowMs += 1;
  expect(await directory.participationsOf("app", "u1")).toEqual([]);
  nowMs += 60_000;
  await grant("2");
  expect(directory.size).toBe(1);
});

it("forgets after a minute whose part ended", async () => {
  let nowMs = 1_000_000;
  const directory = new MemoryDirectory({ clock: { nowUs: () => nowMs * 1000 } });
  const channel = channelOf("app", "order", "1");
  await directory.end(channel, "u1");
  nowMs += 59_999;
  expect((await directory.recordOf(channel)).ended.size).toBe(1);
  nowMs += 1;
  expect((await directory.recordOf(channel)).ended.size).toBe(0);
});
