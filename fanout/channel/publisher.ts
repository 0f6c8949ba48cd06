/**
 * Publishing: the one way by which events of clients, backend services and Kafka enter a channel.
 * It completes the event (id, time, channel), encodes it once and hands it to the broker by its class.
 * Latest and ephemeral events are also given to this process's own followers at once, so that they still
 * flow while the store is away; their way back from the store is recognised and dropped.
 */
import { randomUUID } from "node:crypto";
import { encode } from "#proto/encode.js";
import { GatewayError } from "#proto/errors.js";
import { PROCESS_PACE } from "#proto/flush-pace.js";
import { ChatMessage, Event } from "#proto/gen/realtime/client/v1/event.js";
import { messageIdPrefix, writeMessageId } from "#fanout/chat/message-id.js";
import { isOver } from "#fanout/notification/notification-expiry.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { Broker, BrokerMessage, DurableEvent, StreamPosition } from "./broker.js";
import type { Channel } from "./channel.js";
import { CHANNEL_KINDS } from "./channel-kinds.js";
import { conflationKey, EVENT_TYPES, versionSubject, type EventBody } from "./event-types.js";
import { OutboxTopics } from "./outbox-topics.js";

export interface PublishRequest {
  readonly channel: Channel;
  /** `id` and `timeMs` may be empty; `channel` and `position` are ignored. Must have a body. */
  readonly event: Event;
  /** Makes a durable publish repeatable. Default: the event's id. */
  readonly idempotencyKey?: string;
  /** See `DurableEvent`. */
  readonly secondKey?: string;
  readonly unlessKey?: string;
  /** Durable: an older one than the stored is dropped. Latest: decides which is newer (default: the store's clock). */
  readonly version?: number;
  readonly sourceMark?: NonNullable<DurableEvent["sourceMark"]>;
  /** The connection that it came from: it does not get its own ephemeral events. */
  readonly origin?: string;
}

export interface PublishResult {
  readonly outcome: "published" | "repeated" | "stale";
  readonly eventId: string;
  /** Absent where the event is not stored. */
  readonly position?: StreamPosition;
  readonly timeMs: number;
  /** Of a message: its id and number, absent where it was known by its source's mark alone. */
  readonly message?: { readonly id: string; readonly number: number };
}

/** Hears latest and ephemeral events before the store does. */
export type LocalDelivery = (channel: Channel, message: BrokerMessage) => void;

export class Publisher {
  readonly #broker: Broker;
  readonly #clock: StoreClock;
  readonly #deliverLocally: LocalDelivery;
  readonly #outboxTopics: OutboxTopics;

  constructor(options: {
    broker: Broker;
    clock: StoreClock;
    deliverLocally: LocalDelivery;
    /** Default: no custom event goes to Kafka. */
    outboxTopics?: OutboxTopics;
  }) {
    this.#broker = options.broker;
    this.#clock = options.clock;
    this.#deliverLocally = options.deliverLocally;
    this.#outboxTopics = options.outboxTopics ?? new OutboxTopics();
  }

  /**
   * Resolves once a durable event is stored. A notification whose time is over is `stale`, and is not stored.
   * @throws GatewayError invalid_argument without a body, not_found for an unknown kind of channel,
   *   unavailable while the store is away.
   */
  async publish(request: PublishRequest): Promise<PublishResult> {
    const { channel } = request;
    const body = request.event.body;
    if (body === undefined)
      throw new GatewayError("invalid_argument", "an event needs a body", { field: "event.body" });
    if (!CHANNEL_KINDS.has(channel.kind)) {
      throw new GatewayError("not_found", `there is no kind of channel called ${channel.kind}`, {
        field: "channel",
      });
    }
    if (body.$case === "notification" && isOver(body.value, this.#clock.nowUs() / 1000)) {
      return { outcome: "stale", eventId: request.event.id, timeMs: request.event.timeMs };
    }
    const eventId = request.event.id === "" ? randomUUID() : request.event.id;
    const timeMs = request.event.timeMs === 0 ? Math.floor(this.#clock.nowUs() / 1000) : request.event.timeMs;
    const event = { ...request.event, id: eventId, timeMs, channel: channel.name, position: undefined };
    // A message is completed by the store, which numbers it.
    const payload = encode(Event, body.$case === "chatMessage" ? withoutBody(event) : event);

    switch (EVENT_TYPES[body.$case].deliveryClass) {
      case "durable":
        return this.#publishDurable(request, body, { eventId, timeMs, payload });
      case "latest": {
        const value = { key: conflationKey(body), version: request.version ?? this.#clock.nowUs(), payload };
        this.#deliverLocally(channel, { type: "latest", value });
        await this.#broker.update(channel, value);
        return { outcome: "published", eventId, timeMs };
      }
      case "ephemeral": {
        const origin = request.origin ?? "";
        this.#deliverLocally(channel, { type: "ephemeral", payload, origin });
        await this.#broker.tell(channel, { payload, origin });
        return { outcome: "published", eventId, timeMs };
      }
    }
  }

  async #publishDurable(
    request: PublishRequest,
    body: EventBody,
    made: { eventId: string; timeMs: number; payload: Uint8Array },
  ): Promise<PublishResult> {
    const { channel } = request;
    const outboxTopic = this.#outboxTopics.topicOf(body);
    // Few events are messages: what their ids begin with is made for those alone.
    const idPrefix = body.$case === "chatMessage" ? messageIdPrefix(channel) : "";
    const stored = this.#broker.publish(channel, {
      eventId: made.eventId,
      payload: made.payload,
      idempotencyKey: request.idempotencyKey ?? made.eventId,
      ...(request.secondKey !== undefined && { secondKey: request.secondKey }),
      ...(request.unlessKey !== undefined && { unlessKey: request.unlessKey }),
      ...(body.$case === "chatMessage" && {
        message: { body: encode(ChatMessage, { ...body.value, messageId: "", number: 0 }), idPrefix },
      }),
      ...(request.version !== undefined && {
        version: { subject: versionSubject(body), number: request.version },
      }),
      ...(request.sourceMark && { sourceMark: request.sourceMark }),
      ...(outboxTopic !== undefined && { outbox: { topic: outboxTopic, key: channel.id } }),
    });
    const answer = await PROCESS_PACE.awake(stored);
    if (answer.outcome === "stale") return { outcome: "stale", eventId: made.eventId, timeMs: made.timeMs };
    const { outcome, position, timeMs, number } = answer;
    return {
      outcome,
      eventId: made.eventId,
      position,
      timeMs,
      ...(number !== undefined && {
        message: { id: writeMessageId(idPrefix, { ...position, number }), number },
      }),
    };
  }
}

function withoutBody(event: Event): Event {
  return { ...event, body: undefined };
}
