import { describe, expect, it } from "vitest";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { EVENT_TYPES, type EventBody } from "#fanout/channel/event-types.js";
import { OutboxTopics } from "#fanout/channel/outbox-topics.js";
import { readEnvelope } from "#fanout/event/envelope.js";
import { EventConsumer } from "#fanout/event/event-consumer.js";
import type { OutboxEntry } from "./outbox.js";
import { deadLetterOf, PoisonEntry, recordOf, WRITTEN_TYPES } from "./outbox-record.js";

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

function entry(body: EventBody | undefined, more: Partial<Event> = {}): OutboxEntry {
  const event = Event.fromPartial({
    id: "e1",
    channel: "conversation:c1",
    timeMs: Date.parse("2026-02-17T10:30:00.000Z"),
    sender: { userId: "u1", role: "customer" },
    correlationId: "order-42",
    traceparent: TRACEPARENT,
    ...more,
  });
  event.body = body;
  return {
    id: "1-0",
    topic: "chat-events",
    key: "c1",
    eventId: "e1",
    channel: "shop/conversation:c1",
    epoch: "abc",
    offset: 7,
    timeMs: 1_771_324_200_500,
    payload: Event.encode(event).finish(),
  };
}

const message = (more: object = {}): EventBody => ({
  $case: "chatMessage",
  value: {
    messageId: "m1",
    content: "Hello",
    messageType: "text",
    clientMessageId: "",
    number: 3,
    recipientId: "",
    ...more,
  },
});

function said(from: OutboxEntry): { type: string; data: Readonly<Record<string, unknown>> } {
  const { type, data } = JSON.parse(Buffer.from(recordOf(from).value).toString()) as {
    type: string;
    data: Record<string, unknown>;
  };
  return { type, data };
}

const ABOUT = {
  channel: "conversation:c1",
  senderId: "u1",
  senderRole: "customer",
  position: { epoch: "abc", offset: 7 },
};

describe("the record of an event", () => {
  it("is an envelope in JSON under the entry's key, marked as the gateway's own", () => {
    const record = recordOf(entry(message({ clientMessageId: "cm1", recipientId: "u2" })));
    expect(record).toMatchObject({ topic: "chat-events", key: "c1" });
    expect(record.headers).toEqual({
      source: "realtime-gateway",
      "content-type": "application/json",
      "event-id": "e1",
      traceparent: TRACEPARENT,
    });
    expect(JSON.parse(Buffer.from(record.value).toString())).toEqual({
      eventId: "e1",
      type: "chat.message.sent",
      occurredAt: "2026-02-17T10:30:00.000Z",
      correlationId: "order-42",
      traceparent: TRACEPARENT,
      app: "shop",
      data: {
        messageId: "m1",
        content: "Hello",
        messageType: "text",
        number: 3,
        clientMessageId: "cm1",
        recipientId: "u2",
        ...ABOUT,
      },
    });
  });

  it("can be read as any envelope, and is skipped by the gateway's own consumer", async () => {
    const { topic, key, value, headers } = recordOf(entry(message()));
    const read = { topic, partition: 0, offset: 0, key, value, headers };
    expect(readEnvelope(read)).toMatchObject({ eventId: "e1", type: "chat.message.sent", app: "shop" });
    const unreachable = (): never => {
      throw new Error("the gateway's own record was handled");
    };
    const consumer = new EventConsumer({
      publisher: { publish: unreachable },
      participations: { grant: unreachable, end: unreachable, endAll: unreachable },
      directory: { participants: unreachable },
      chat: { say: unreachable },
      offers: { create: unreachable, withdraw: unreachable },
      logger: { debug: unreachable, info: unreachable, warn: unreachable, error: unreachable },
      now: () => 0,
    });
    await consumer.handle(read).run();
    expect(consumer.counters).toMatchObject({ own: 1, consumed: 0 });
  });

  it("says each kind of event by its type", () => {
    expect(said(entry({ $case: "chatEdited", value: { messageId: "m1", content: "x" } }))).toEqual({
      type: "chat.message.edited",
      data: { messageId: "m1", content: "x", ...ABOUT },
    });
    expect(said(entry({ $case: "chatDeleted", value: { messageId: "m1" } }))).toEqual({
      type: "chat.message.deleted",
      data: { messageId: "m1", ...ABOUT },
    });
    expect(
      said(entry({ $case: "custom", value: { type: "note.added", data: { text: "x", channel: "mine" } } })),
    ).toEqual({ type: "note.added", data: { text: "x", ...ABOUT } });
  });

  it("has a type for every body that goes to a topic", () => {
    const topics = new OutboxTopics({ customTypes: ["x"], customTopic: "t" });
    const marked = Object.keys(EVENT_TYPES).filter((body) => {
      return topics.topicOf({ $case: body, value: { type: "x" } } as EventBody) !== undefined;
    });
    expect(Object.keys(WRITTEN_TYPES).sort()).toEqual(marked.sort());
  });

  it("leaves out what nobody said, and takes the store's time for an event without one", () => {
    const bare = entry(message(), {
      timeMs: 0,
      sender: undefined,
      correlationId: "",
      traceparent: "",
    });
    const record = recordOf({ ...bare, channel: "default/conversation:c1" });
    expect(record.headers).not.toHaveProperty("traceparent");
    const envelope = JSON.parse(Buffer.from(record.value).toString()) as Record<string, unknown>;
    expect(Object.keys(envelope)).toEqual(["eventId", "type", "occurredAt", "data"]);
    expect(envelope["occurredAt"]).toBe("2026-02-17T10:30:00.500Z");
    expect(envelope["data"]).toMatchObject({ senderId: "", senderRole: "" });
  });

  it.each<[string, OutboxEntry]>([
    ["that is not protobuf", { ...entry(message()), payload: Buffer.from([0xff, 0xff]) }],
    ["without a body", entry(undefined)],
    ["whose body is not written to Kafka", entry(typing())],
    ["without a topic", { ...entry(message()), topic: "" }],
    ["without an event id", { ...entry(message()), eventId: "" }],
    ["whose time is no time", entry(message(), { timeMs: Number.MAX_SAFE_INTEGER })],
  ])("is not made of an entry %s", (_, poison) => {
    expect(() => recordOf(poison)).toThrow(PoisonEntry);
  });

  it("is put aside as it was stored, with the reason", () => {
    const poison = entry(message());
    expect(deadLetterOf(poison, 12, "why")).toEqual({
      topic: "chat-events.dlq",
      key: "c1",
      value: poison.payload,
      headers: {
        source: "realtime-gateway",
        "content-type": "application/protobuf",
        "event-id": "e1",
        "dlq-reason": "why",
        "dlq-source-topic": "outbox",
        "dlq-source-partition": "12",
        "dlq-source-offset": "1-0",
      },
    });
  });
});

function typing(): EventBody {
  return { $case: "typing", value: { userId: "u1", connectionId: "c", typing: true } };
}
