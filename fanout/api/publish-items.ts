/**
 * The items of a publish: reads and checks what a backend service wrote, naming the field at fault, and says
 * what became of each. The same for a call with one batch and for a stream of them.
 */
import { toGatewayError, type GatewayError } from "#proto/errors.js";
import { PublishOutcome, type PublishItem, type PublishResult } from "#proto/gen/realtime/api/v1/api.js";
import type { Event } from "#proto/gen/realtime/client/v1/event.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import { checkEventSize, eventIdFor } from "#fanout/channel/event-identity.js";
import type {
  PublishRequest as ChannelPublish,
  PublishResult as Published,
} from "#fanout/channel/publisher.js";
import type { ApiCounters } from "./api-counters.js";
import type { ApiCall } from "./api-method.js";
import { checkEvent } from "./event-rules.js";
import { FieldCheck } from "./field-check.js";
import type { ItemOutcome } from "./ordered-batches.js";

export const MAX_PUBLISH_ITEMS = 1_000;
const MAX_KEY_CHARACTERS = 128;

const OUTCOMES = {
  published: PublishOutcome.PUBLISH_OUTCOME_PUBLISHED,
  repeated: PublishOutcome.PUBLISH_OUTCOME_REPEATED,
  stale: PublishOutcome.PUBLISH_OUTCOME_STALE,
} as const;

/** What each item asks for, or why it is refused. */
export function readItems(
  items: readonly PublishItem[],
  call: ApiCall,
  nowMs: number,
): (ChannelPublish | GatewayError)[] {
  return items.map((item, index) => {
    try {
      return readItem(item, new FieldCheck(`items[${index}]`), call, nowMs);
    } catch (thrown) {
      return toGatewayError(thrown);
    }
  });
}

/** Says what became of an item, and counts it. */
export function resultOf(
  outcome: ItemOutcome<Published>,
  { call, counters }: { readonly call: ApiCall; readonly counters: ApiCounters },
): PublishResult {
  if (outcome.ok) {
    const { result } = outcome;
    counters.publishItems[result.outcome] += 1;
    return {
      outcome: OUTCOMES[result.outcome],
      eventId: result.eventId,
      position: result.position && { ...result.position },
    };
  }
  const { error } = outcome;
  counters.publishItems.failed += 1;
  if (error.kind === "internal" || error.kind === "unavailable") call.report(error);
  return { outcome: PublishOutcome.PUBLISH_OUTCOME_FAILED, eventId: "", error: error.toMessage() };
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
