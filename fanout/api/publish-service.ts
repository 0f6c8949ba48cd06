/**
 * `PublishService`: events of backend services into channels. It reads and checks each item, hands it to
 * the publisher, keeps the order within a channel while channels go side by side, and says what became of
 * each item. What an event's class means and how repeats are known is the publisher's and the broker's.
 */
import { toGatewayError } from "#proto/errors.js";
import {
  PublishOutcome,
  PublishServiceService,
  type PublishItem,
  type PublishRequest,
  type PublishResponse,
  type PublishResult,
} from "#proto/gen/realtime/api/v1/api.js";
import type { Event } from "#proto/gen/realtime/client/v1/event.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import { checkEventSize, eventIdFor } from "#fanout/channel/event-identity.js";
import type { Publisher, PublishRequest as ChannelPublish } from "#fanout/channel/publisher.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { ApiCounters } from "./api-counters.js";
import { apiMethod, type ApiCall, type ApiMethod } from "./api-method.js";
import { checkEvent } from "./event-rules.js";
import { checkBatch, FieldCheck } from "./field-check.js";
import { runOrdered, type ItemOutcome } from "./ordered-batch.js";

const MAX_ITEMS = 1_000;
const MAX_KEY_CHARACTERS = 128;
/** Channels of one call that are written to at once. */
const CONCURRENT_CHANNELS = 32;

const OUTCOMES = {
  published: PublishOutcome.PUBLISH_OUTCOME_PUBLISHED,
  repeated: PublishOutcome.PUBLISH_OUTCOME_REPEATED,
  stale: PublishOutcome.PUBLISH_OUTCOME_STALE,
} as const;

export class PublishService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(PublishServiceService.publish, (request, call) => this.#publish(request, call)),
  ];
  readonly #publisher: Publisher;
  readonly #clock: StoreClock;
  readonly #counters: ApiCounters;

  constructor(options: { publisher: Publisher; clock: StoreClock; counters: ApiCounters }) {
    this.#publisher = options.publisher;
    this.#clock = options.clock;
    this.#counters = options.counters;
  }

  async #publish(request: PublishRequest, call: ApiCall): Promise<PublishResponse> {
    checkBatch("items", request.items, MAX_ITEMS);
    const nowMs = Math.floor(this.#clock.nowUs() / 1_000);
    const outcomes = await runOrdered({
      items: request.items.map((item, index) => {
        try {
          return readItem(item, new FieldCheck(`items[${index}]`), call, nowMs);
        } catch (thrown) {
          return toGatewayError(thrown);
        }
      }),
      orderKey: ({ channel }) => channel.key,
      work: (item) => this.#publisher.publish(item),
      concurrency: CONCURRENT_CHANNELS,
      signal: call.signal,
    }).catch((thrown: unknown) => {
      this.#counters.publishItems.failed += request.items.length;
      throw thrown;
    });
    return { results: outcomes.map((outcome) => this.#resultOf(outcome, call)) };
  }

  #resultOf(outcome: ItemOutcome<Awaited<ReturnType<Publisher["publish"]>>>, call: ApiCall): PublishResult {
    if (outcome.ok) {
      const { result } = outcome;
      this.#counters.publishItems[result.outcome] += 1;
      return {
        outcome: OUTCOMES[result.outcome],
        eventId: result.eventId,
        position: result.position && { ...result.position },
      };
    }
    const { error } = outcome;
    this.#counters.publishItems.failed += 1;
    if (error.kind === "internal" || error.kind === "unavailable") call.report(error);
    return { outcome: PublishOutcome.PUBLISH_OUTCOME_FAILED, eventId: "", error: error.toMessage() };
  }
}

/** Reads one item. @throws GatewayError with the field at fault. */
function readItem(item: PublishItem, check: FieldCheck, call: ApiCall, nowMs: number): ChannelPublish {
  const channel = readTarget(item, check);
  if (item.event === undefined) check.fail("event", "an item needs an event");
  checkEvent(item.event, check.at("event"), nowMs);
  check.optionalLine("idempotency_key", item.idempotencyKey, MAX_KEY_CHARACTERS);
  const event: Event = {
    ...item.event,
    // An item sent again with the same key gets the same answer.
    id:
      item.event.id !== "" || item.idempotencyKey === ""
        ? item.event.id
        : eventIdFor(channel, item.idempotencyKey),
    correlationId: item.event.correlationId === "" ? call.correlationId : item.event.correlationId,
    traceparent: item.event.traceparent === "" ? call.traceparent : item.event.traceparent,
  };
  checkEventSize(event, `${check.path}.event`);
  return {
    channel,
    event,
    ...(item.idempotencyKey !== "" && { idempotencyKey: item.idempotencyKey }),
    ...(item.version > 0 && { version: item.version }),
  };
}

function readTarget(item: PublishItem, check: FieldCheck): Channel {
  const app = check.app("app", item.app);
  switch (item.target?.$case) {
    case "channel":
      return check.channel("channel", app, item.target.value).channel;
    case "userId":
      check.identifier("user_id", item.target.value);
      return userChannel(app, item.target.value);
    case undefined:
      return check.fail("channel", "an item needs a channel or a user_id");
  }
}
