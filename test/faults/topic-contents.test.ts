import { expect, it } from "vitest";
import { topicFaults, type Expected, type TopicRecord } from "./topic-contents.js";

function record(eventId: string, partition = 0): TopicRecord {
  return { eventId, partition, key: "order:1" };
}

function expected(...eventIds: readonly string[]): Expected[] {
  return eventIds.map((eventId, index) => ({
    eventId,
    channel: "order:1",
    position: { epoch: "e", offset: index + 1, tag: 0 },
  }));
}

it("finds nothing in a topic that has every event in order, some of them again", () => {
  const records = [record("a"), record("b"), record("a"), record("b"), record("c")];
  expect(topicFaults(records, expected("a", "b", "c"))).toEqual([]);
});

it("takes the channel's order for the order, not that in which writers heard", () => {
  const records = [record("a"), record("b")];
  expect(topicFaults(records, expected("a", "b").reverse())).toEqual([]);
});

it("finds an event that is missing", () => {
  expect(topicFaults([record("a"), record("c")], expected("a", "b", "c"))).toEqual([
    "b of order:1 is missing",
  ]);
});

it("finds an event that stands first behind a later one", () => {
  const records = [record("a"), record("c"), record("b"), record("c")];
  expect(topicFaults(records, expected("a", "b", "c"))).toEqual([
    "c stands before b, which is older in order:1",
  ]);
});

it("finds a channel that lies in two partitions", () => {
  const records = [record("a"), record("b", 1)];
  expect(topicFaults(records, expected("a", "b"))).toEqual(["b and a of order:1 are in two partitions"]);
});
