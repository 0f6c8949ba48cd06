/**
 * `NotificationService`: notifications as backend services send them. It reads and checks items, publishes each to
 * the one channel of its target, and says what became of it; items are done in order within a target.
 */
import { randomUUID } from "node:crypto";
import { toGatewayError } from "#proto/errors.js";
import { PublishOutcome } from "#proto/gen/realtime/api/v1/api.js";
import {
  NotificationServiceService,
  type NotificationItem,
  type NotificationResult,
  type NotifyRequest,
  type NotifyResponse,
} from "#proto/gen/realtime/api/v1/notifications.js";
import type { Event, Notification } from "#proto/gen/realtime/client/v1/event.js";
import type { ApiCounters } from "#fanout/api/api-counters.js";
import { apiMethod, type ApiCall, type ApiMethod } from "#fanout/api/api-method.js";
import { checkEvent } from "#fanout/api/event-rules.js";
import { checkBatch, FieldCheck } from "#fanout/api/field-check.js";
import { runOrdered, type ItemOutcome } from "#fanout/api/ordered-batch.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import { checkEventSize, eventIdFor } from "#fanout/channel/event-identity.js";
import type { Publisher, PublishRequest, PublishResult } from "#fanout/channel/publisher.js";
import type { StoreClock } from "#fanout/store-clock.js";
import { everyoneChannel, roleChannel } from "./broadcast-channels.js";
import { MAX_TIME_TO_LIVE_MS } from "./notification-expiry.js";

const MAX_ITEMS = 1_000;
const CONCURRENT_TARGETS = 32;
const MAX_KEY_CHARACTERS = 128;

const OUTCOMES = {
  published: PublishOutcome.PUBLISH_OUTCOME_PUBLISHED,
  repeated: PublishOutcome.PUBLISH_OUTCOME_REPEATED,
  stale: PublishOutcome.PUBLISH_OUTCOME_STALE,
} as const;

export interface NotificationServiceOptions {
  readonly publisher: Pick<Publisher, "publish">;
  readonly clock: StoreClock;
  readonly counters: ApiCounters;
}

interface ToSend {
  readonly notificationId: string;
  readonly publish: PublishRequest;
}

interface Sent extends PublishResult {
  readonly notificationId: string;
  readonly channel: string;
}

export class NotificationService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(NotificationServiceService.notify, (request, call) => this.#notify(request, call)),
  ];
  readonly #options: NotificationServiceOptions;

  constructor(options: NotificationServiceOptions) {
    this.#options = options;
  }

  async #notify({ items }: NotifyRequest, call: ApiCall): Promise<NotifyResponse> {
    checkBatch("items", items, MAX_ITEMS);
    const nowMs = Math.floor(this.#options.clock.nowUs() / 1000);
    const outcomes = await runOrdered({
      items: items.map((item, index) => {
        try {
          return readItem(item, new FieldCheck(`items[${index}]`), { call, nowMs });
        } catch (thrown) {
          return toGatewayError(thrown);
        }
      }),
      orderKey: ({ publish }) => publish.channel.key,
      work: (item) => this.#send(item),
      concurrency: CONCURRENT_TARGETS,
      signal: call.signal,
    });
    return { results: outcomes.map((outcome) => this.#resultOf(outcome, call)) };
  }

  async #send({ notificationId, publish }: ToSend): Promise<Sent> {
    const result = await this.#options.publisher.publish(publish);
    return { ...result, notificationId, channel: publish.channel.name };
  }

  #resultOf(outcome: ItemOutcome<Sent>, call: ApiCall): NotificationResult {
    const { publishItems } = this.#options.counters;
    if (outcome.ok) {
      const { result } = outcome;
      publishItems[result.outcome] += 1;
      const { notificationId, channel, position } = result;
      return {
        outcome: OUTCOMES[result.outcome],
        ...{ notificationId, channel },
        position: position && { ...position },
      };
    }
    const { error } = outcome;
    publishItems.failed += 1;
    if (error.kind === "internal" || error.kind === "unavailable") call.report(error);
    return {
      outcome: PublishOutcome.PUBLISH_OUTCOME_FAILED,
      ...{ notificationId: "", channel: "" },
      error: error.toMessage(),
    };
  }
}

function readItem(
  item: NotificationItem,
  check: FieldCheck,
  { call, nowMs }: { readonly call: ApiCall; readonly nowMs: number },
): ToSend {
  const channel = readTarget(item, check);
  check.optionalIdentifier("notification_id", item.notificationId);
  check.optionalLine("idempotency_key", item.idempotencyKey, MAX_KEY_CHARACTERS);
  check.range("time_to_live_ms", item.timeToLiveMs, { from: 0, to: MAX_TIME_TO_LIVE_MS });
  const idempotencyKey = item.idempotencyKey === "" ? item.notificationId : item.idempotencyKey;
  const id = idempotencyKey === "" ? randomUUID() : eventIdFor(channel, `notify\n${idempotencyKey}`);
  const { type, title, message, data, timeToLiveMs } = item;
  const value: Notification = {
    ...{ type, title, message, data },
    notificationId: item.notificationId === "" ? id : item.notificationId,
    expiresAtMs: timeToLiveMs === 0 ? 0 : nowMs + timeToLiveMs,
  };
  const event: Event = {
    ...{ id, channel: "", timeMs: 0, correlationId: call.correlationId, traceparent: call.traceparent },
    body: { $case: "notification", value },
  };
  checkEvent(event, check, nowMs);
  checkEventSize(event, check.path);
  return { notificationId: value.notificationId, publish: { channel, event, idempotencyKey: id } };
}

function readTarget({ app: given, target }: NotificationItem, check: FieldCheck): Channel {
  const app = check.app("app", given);
  switch (target?.$case) {
    case "userId":
      check.identifier("user_id", target.value);
      return userChannel(app, target.value);
    case "channel":
      return check.channel("channel", app, target.value).channel;
    case "role":
      check.identifier("role", target.value);
      return roleChannel(app, target.value);
    case "everyone":
      if (!target.value) check.fail("everyone", "where it is given, it must be true");
      return everyoneChannel(app);
    case undefined:
      return check.fail("target", "it says a user, a channel, a role or everyone");
  }
}
