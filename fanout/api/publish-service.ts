/**
 * `PublishService`: events of backend services into channels, a batch in a call or batch after batch in a
 * stream. It keeps the order within a channel while channels go side by side, and says what became of each
 * item. What an event's class means and how repeats are known is the publisher's and the broker's.
 */
import {
  PublishServiceService,
  type PublishRequest,
  type PublishResponse,
} from "#proto/gen/realtime/api/v1/api.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { ApiCounters } from "./api-counters.js";
import { apiMethod, type ApiCall, type ApiMethod } from "./api-method.js";
import { apiStream } from "./api-stream.js";
import { checkBatch } from "./field-check.js";
import { runOrdered } from "./ordered-batch.js";
import { MAX_PUBLISH_ITEMS, readItems, resultOf } from "./publish-items.js";
import { PublishStream } from "./publish-stream.js";

/** Channels of one call that are written to at once. */
const CONCURRENT_CHANNELS = 32;

export interface PublishServiceOptions {
  readonly publisher: Publisher;
  readonly clock: StoreClock;
  readonly counters: ApiCounters;
}

export class PublishService {
  readonly methods: readonly ApiMethod[];
  readonly #options: PublishServiceOptions;

  constructor(options: PublishServiceOptions) {
    this.#options = options;
    this.methods = [
      apiMethod(PublishServiceService.publish, (request, call) => this.#publish(request, call)),
      apiStream(
        PublishServiceService.publishStream,
        (call) => new PublishStream({ ...options, call, concurrency: CONCURRENT_CHANNELS }),
      ),
    ];
  }

  async #publish(request: PublishRequest, call: ApiCall): Promise<PublishResponse> {
    const { publisher, clock, counters } = this.#options;
    checkBatch("items", request.items, MAX_PUBLISH_ITEMS);
    const outcomes = await runOrdered({
      items: readItems(request.items, call, Math.floor(clock.nowUs() / 1_000)),
      orderKey: ({ channel }) => channel.key,
      work: (item) => publisher.publish(item),
      concurrency: CONCURRENT_CHANNELS,
      signal: call.signal,
    }).catch((thrown: unknown) => {
      counters.publishItems.failed += request.items.length;
      throw thrown;
    });
    return { results: outcomes.map((outcome) => resultOf(outcome, { call, counters })) };
  }
}
