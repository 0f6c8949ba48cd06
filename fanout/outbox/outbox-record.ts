/**
 * How an event of the outbox is said to other services: an envelope in JSON (see docs/events.md), marked as the
 * gateway's own so that it is not read back. What cannot be said so is a dead letter: the event as it was
 * stored, with the reason.
 */
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { EventBody } from "#fanout/channel/event-types.js";
import { DEAD_LETTER_HEADERS, deadLetterTopic } from "#fanout/event/dead-letter.js";
import {
  CONTENT_TYPE_HEADER,
  OWN_SOURCE,
  PROTOBUF_CONTENT_TYPE,
  SOURCE_HEADER,
  writeEnvelope,
} from "#fanout/event/envelope.js";
import type { SinkRecord } from "#fanout/event/event-sink.js";
import type { OutboxEntry } from "./outbox.js";

export const EVENT_ID_HEADER = "event-id";
export const TRACEPARENT_HEADER = "traceparent";

type Data = Readonly<Record<string, unknown>>;
type Saying = { readonly type: string; readonly data: Data };
type BodyOf<Case extends EventBody["$case"]> = Extract<EventBody, { $case: Case }>["value"];

/**
 * The types of events by body. What is custom says its own; changes of offers come as such events too
 * (`offer/offer-events.ts`).
 */
export const WRITTEN_TYPES = {
  chatMessage: "chat.message.sent",
  chatEdited: "chat.message.edited",
  chatDeleted: "chat.message.deleted",
  custom: "*",
} as const;

/** The entry can never be relayed as it is. The message quotes nothing of it. */
export class PoisonEntry extends Error {
  override readonly name = "PoisonEntry";
}

/** @throws PoisonEntry */
export function recordOf(entry: OutboxEntry): SinkRecord {
  const { topic, key, eventId } = entry;
  if (topic === "" || eventId === "") throw new PoisonEntry("it has no topic or no event id");
  const event = decode(entry.payload);
  const { type, data } = sayingOf(event.body);
  const slash = entry.channel.indexOf("/");
  try {
    const record = writeEnvelope(
      { topic, key },
      {
        eventId,
        type,
        occurredAtMs: event.timeMs > 0 ? event.timeMs : entry.timeMs,
        correlationId: event.correlationId,
        traceparent: event.traceparent,
        app: entry.channel.slice(0, slash),
        version: 0,
        data: {
          ...data,
          channel: entry.channel.slice(slash + 1),
          senderId: event.sender?.userId ?? "",
          senderRole: event.sender?.role ?? "",
          position: { epoch: entry.epoch, offset: entry.offset },
        },
      },
    );
    const traced = event.traceparent !== "" && { [TRACEPARENT_HEADER]: event.traceparent };
    return { ...record, headers: { ...record.headers, [EVENT_ID_HEADER]: eventId, ...traced } };
  } catch (error) {
    throw new PoisonEntry("it cannot be written as JSON", { cause: error });
  }
}

/** The event as it is stored, for people to look at. */
export function deadLetterOf(entry: OutboxEntry, partition: number, reason: string): SinkRecord {
  return {
    topic: deadLetterTopic(entry.topic),
    key: entry.key,
    value: entry.payload,
    headers: {
      [CONTENT_TYPE_HEADER]: PROTOBUF_CONTENT_TYPE,
      [SOURCE_HEADER]: OWN_SOURCE,
      [EVENT_ID_HEADER]: entry.eventId,
      [DEAD_LETTER_HEADERS.reason]: reason,
      [DEAD_LETTER_HEADERS.topic]: "outbox",
      [DEAD_LETTER_HEADERS.partition]: String(partition),
      [DEAD_LETTER_HEADERS.offset]: entry.id,
    },
  };
}

function decode(payload: Uint8Array): Event {
  try {
    return Event.decode(payload);
  } catch (error) {
    throw new PoisonEntry("it is not a protobuf realtime.client.v1.Event", { cause: error });
  }
}

function sayingOf(body: EventBody | undefined): Saying {
  switch (body?.$case) {
    case "chatMessage":
      return { type: WRITTEN_TYPES.chatMessage, data: messageData(body.value) };
    case "chatEdited":
      return { type: WRITTEN_TYPES.chatEdited, data: { ...body.value } };
    case "chatDeleted":
      return { type: WRITTEN_TYPES.chatDeleted, data: { ...body.value } };
    case "custom":
      return { type: body.value.type, data: body.value.data ?? {} };
    default:
      throw new PoisonEntry("its body is not one that this release writes to Kafka");
  }
}

function messageData({ clientMessageId, recipientId, ...message }: BodyOf<"chatMessage">): Data {
  return {
    ...message,
    ...(clientMessageId !== "" && { clientMessageId }),
    ...(recipientId !== "" && { recipientId }),
  };
}
