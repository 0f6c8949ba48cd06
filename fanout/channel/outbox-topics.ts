/**
 * Which events must reach Kafka too, and in which topic: chat and offers always, events of the apps' own types
 * where the configuration marks them. Pure; the broker writes them to the outbox, a relay sends them on.
 */
import { OFFER_TOPIC } from "#fanout/offer/offer-events.js";
import type { EventBody, EventType } from "./event-types.js";

const FIXED: Readonly<Partial<Record<EventType, string>>> = {
  chatMessage: "chat-events",
  chatEdited: "chat-events",
  chatDeleted: "chat-events",
};

export interface OutboxTopicsOptions {
  /** The types of custom events that go to `customTopic`. */
  readonly customTypes: readonly string[];
  readonly customTopic: string;
}

export class OutboxTopics {
  readonly #customTypes: ReadonlySet<string>;
  readonly #customTopic: string;

  constructor({ customTypes, customTopic }: OutboxTopicsOptions = { customTypes: [], customTopic: "" }) {
    this.#customTypes = new Set(customTypes);
    this.#customTopic = customTopic;
  }

  /** All topics that events may go to. */
  get topics(): readonly string[] {
    const custom = this.#customTypes.size > 0 ? [this.#customTopic] : [];
    return [...new Set([...Object.values(FIXED), OFFER_TOPIC, ...custom])];
  }

  /**
   * Undefined where it stays with the apps. What candidates are told of an offer does: the offer's own script writes
   * its changes to the outbox, each once.
   */
  topicOf(body: EventBody): string | undefined {
    if (body.$case !== "custom") return FIXED[body.$case];
    return this.#customTypes.has(body.value.type) ? this.#customTopic : undefined;
  }
}
