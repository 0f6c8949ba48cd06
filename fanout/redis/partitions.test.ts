/** Partitions: their layout is written into every key, so it must never change by accident. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { channelOf } from "#fanout/channel/channel.js";
import { channelKeys, edgeLeaseKey, locationKey, sentinelKey, userKeys } from "./keys.js";
import { keyPart, PARTITION_COUNT, partitionOf, PARTITIONS, SLOT_COUNT, slotOf } from "./partitions.js";

describe("partitions", () => {
  it("lie one in each 128th of the slots", () => {
    const slotsEach = SLOT_COUNT / PARTITION_COUNT;
    expect(PARTITIONS.map(({ tag }) => Math.floor(slotOf(tag) / slotsEach))).toEqual(
      Array.from({ length: PARTITION_COUNT }, (_, index) => index),
    );
  });

  it("give nodes with like numbers of slots like numbers of partitions", () => {
    for (const nodes of [2, 3, 5, 6]) {
      const counts = Array.from({ length: nodes }, () => 0);
      for (const { tag } of PARTITIONS) {
        const node = Math.floor((slotOf(tag) * nodes) / SLOT_COUNT);
        counts[node] = (counts[node] ?? 0) + 1;
      }
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(3);
    }
  });

  it("compute slots as Redis does", () => {
    // From the Redis Cluster specification: CRC16 of "123456789" is 0x31C3.
    expect(slotOf("123456789")).toBe(0x31c3 % SLOT_COUNT);
  });

  it("stay where they are from release to release", () => {
    const tags = PARTITIONS.map(({ tag }) => tag).join();
    expect(createHash("sha256").update(tags).digest("hex").slice(0, 16)).toBe("61e6c6149b405b07");
    const subjects = ["default/order:42", "default/user:u1", "a/b"];
    expect(subjects.map((subject) => partitionOf(subject).index)).toEqual([4, 39, 66]);
  });

  it("share subjects evenly, also those that differ in their last character only", () => {
    const counts = Array.from({ length: PARTITION_COUNT }, () => 0);
    for (let index = 0; index < 128_000; index++) {
      const { index: partition } = partitionOf(`default/order:${index}`);
      counts[partition] = (counts[partition] ?? 0) + 1;
    }
    expect(Math.min(...counts)).toBeGreaterThan(800);
    expect(Math.max(...counts)).toBeLessThan(1_200);
  });
});

describe("keys", () => {
  it("of one subject lie in one partition", () => {
    const channel = channelKeys(channelOf("default", "order", "42"));
    const user = userKeys("default", "u1");
    const { meta, history, answers, answerOrder, latest, participants, participantsVersion } = channel;
    const state = [meta, history, answers, answerOrder, latest, participants, participantsVersion];
    const keys = [...state, channel.chat, channel.pubsub, channel.outbox, channel.outboxNews];
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) expect(key.startsWith(channel.partition.prefix)).toBe(true);
    expect(user.sessions.startsWith(user.partition.prefix)).toBe(true);
    expect(user.participations.startsWith(user.partition.prefix)).toBe(true);
  });

  it("of one subject lie in one slot, as Redis finds it, and so does their partition's sentinel", () => {
    for (const id of ["42", "a}b{c", "{x}", "", "é"]) {
      const { partition, ...channel } = channelKeys(channelOf("default", "order", id));
      const { partition: ofUser, ...user } = userKeys("default", id);
      const slots = (keys: readonly string[]): Set<number> => new Set(keys.map(slotOfKey));
      expect(slots([...Object.values(channel), sentinelKey(partition)]).size).toBe(1);
      expect(slots([...Object.values(user), sentinelKey(ofUser)]).size).toBe(1);
    }
  });

  it("are distinct for distinct ids, whatever these are", () => {
    const ids = ["a", "a:b", "a/b", "{a}", "~a", "", "*", "é", keyPart("a:b").slice(1), "x".repeat(500)];
    const keys = ids.flatMap((id) => [
      locationKey("app", id).key,
      edgeLeaseKey(id).key,
      userKeys("app", id).sessions,
      channelKeys(channelOf("app", "order", id)).meta,
    ]);
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) expect(key).toMatch(/^\{[0-9a-z]+\}:[A-Za-z0-9_.@|+=~:/-]+$/);
  });
});

/** From the Redis Cluster specification: only what stands between the first brace and the next closing one counts. */
function slotOfKey(key: string): number {
  const open = key.indexOf("{");
  const close = key.indexOf("}", open + 1);
  return slotOf(open >= 0 && close > open + 1 ? key.slice(open + 1, close) : key);
}
