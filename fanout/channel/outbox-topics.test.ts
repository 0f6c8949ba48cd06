import { describe, expect, it } from "vitest";
import { status } from "#test/support/fanout-core.js";
import type { EventBody } from "./event-types.js";
import { OutboxTopics } from "./outbox-topics.js";

const custom = (type: string): EventBody => ({ $case: "custom", value: { type } });
const chat = { $case: "chatMessage", value: { messageId: "m1" } } as EventBody;
const offer = { $case: "offer", value: { offerId: "o1" } } as EventBody;

it("the topics are each named once, the custom one where a type is marked for it", () => {
  const topics = (customTypes: readonly string[], customTopic: string) =>
    new OutboxTopics({ customTypes, customTopic }).topics;
  expect(topics([], "app-events")).toEqual(["chat-events", "offer-events"]);
  expect(topics(["survey"], "app-events")).toEqual(["chat-events", "offer-events", "app-events"]);
  expect(topics(["survey"], "chat-events")).toEqual(["chat-events", "offer-events"]);
});

describe("what must reach Kafka too", () => {
  it("is chat, and of custom events those of the types that are marked", () => {
    const topics = new OutboxTopics({ customTypes: ["job.done", "survey"], customTopic: "app-events" });
    expect([chat, custom("job.done"), custom("survey")].map((body) => topics.topicOf(body))).toEqual([
      "chat-events",
      "app-events",
      "app-events",
    ]);
    // What candidates are told is not what other services are: the offer's script says that, once.
    for (const body of [offer, custom("job"), custom("Survey"), custom(""), status("paid")]) {
      expect(topics.topicOf(body)).toBeUndefined();
    }
  });

  it("is no custom event where none is marked", () => {
    const topics = new OutboxTopics();
    expect(topics.topicOf(custom("job.done"))).toBeUndefined();
    expect(topics.topicOf(chat)).toBe("chat-events");
  });
});
