/**
 * One stream of batches to publish: begins on each as it is read, and answers it when all its items are dealt
 * with. The order within a channel holds over all batches, also behind a failure that may pass (see
 * `ordered-batches.ts`): who had read so many responses knows what those said. It is full while it has as much
 * in hand as a stream may; reading from the call, its time and its end are the boundary's (`api-stream.ts`).
 */
import { GatewayError, toGatewayError } from "#proto/errors.js";
import type { PublishStreamRequest, PublishStreamResponse } from "#proto/gen/realtime/api/v1/api.js";
import type {
  Publisher,
  PublishRequest as ChannelPublish,
  PublishResult,
} from "#fanout/channel/publisher.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { ApiCounters } from "./api-counters.js";
import type { ApiCall } from "./api-method.js";
import type { StreamWork } from "./api-stream.js";
import { checkBatch } from "./field-check.js";
import { OrderedBatches } from "./ordered-batches.js";
import { MAX_PUBLISH_ITEMS, readItems, resultOf } from "./publish-items.js";

export interface PublishStreamOptions {
  readonly publisher: Pick<Publisher, "publish">;
  readonly clock: StoreClock;
  readonly counters: ApiCounters;
  readonly call: ApiCall;
  /** Channels that are written to at once. */
  readonly concurrency: number;
}

/** With so much in hand no further request is read; the one that goes beyond it is taken whole. */
const FULL_AT_ITEMS = 1_024;
const FULL_AT_BYTES = 1024 * 1024;
/** More than can be in hand: beyond it the caller does not read its responses, or does not say so. */
const MAX_FAILED_CHANNELS = 4_096;

/** A request in hand, and later what a failure in it is remembered by. */
interface Taken {
  /** Responses that the caller had read when it sent this. */
  readonly knownResponses: number;
  /** Which of the stream's responses is the one to this, from 1; 0 before. */
  response: number;
}

export class PublishStream implements StreamWork<PublishStreamRequest, PublishStreamResponse> {
  readonly #options: PublishStreamOptions;
  readonly #batches: OrderedBatches<ChannelPublish, PublishResult, Taken>;
  /** In the order in which they were taken. */
  readonly #inHand = new Set<Taken>();
  #itemsInHand = 0;
  #bytesInHand = 0;
  #responses = 0;

  constructor(options: PublishStreamOptions) {
    this.#options = options;
    const { publisher, call, concurrency } = options;
    this.#batches = new OrderedBatches({
      orderKey: ({ channel }) => channel.key,
      work: (item) => publisher.publish(item),
      concurrency,
      isInformed: (later, { response }) => response > 0 && response <= later.knownResponses,
      signal: call.signal,
    });
  }

  get itemsInHand(): number {
    return this.#itemsInHand;
  }

  get isFull(): boolean {
    return this.#itemsInHand >= FULL_AT_ITEMS || this.#bytesInHand >= FULL_AT_BYTES;
  }

  /** @throws GatewayError invalid_argument for a request that is none, unavailable with too many failures in mind. */
  take(
    request: PublishStreamRequest,
    sizeBytes: number,
    answer: (response: PublishStreamResponse) => void,
  ): void {
    this.#check(request);
    const { call, clock, counters } = this.#options;
    const { number, items, responsesRead } = request;
    const taken: Taken = { knownResponses: responsesRead ?? this.#responses, response: 0 };
    this.#forgetFailures(taken);
    this.#inHand.add(taken);
    this.#itemsInHand += items.length;
    this.#bytesInHand += sizeBytes;
    const done = this.#batches.run(taken, readItems(items, call, Math.floor(clock.nowUs() / 1_000)));
    void done.then((outcomes) => {
      this.#inHand.delete(taken);
      this.#itemsInHand -= items.length;
      this.#bytesInHand -= sizeBytes;
      this.#responses += 1;
      taken.response = this.#responses;
      answer({ number, results: outcomes.map((outcome) => resultOf(outcome, { call, counters })) });
    });
  }

  #check({ number, items, responsesRead }: PublishStreamRequest): void {
    try {
      checkBatch("items", items, MAX_PUBLISH_ITEMS);
      if (responsesRead !== undefined && responsesRead > this.#responses) {
        const message = `so far ${this.#responses} were sent`;
        throw new GatewayError("invalid_argument", message, { field: "responses_read" });
      }
    } catch (thrown) {
      const { kind, message, field } = toGatewayError(thrown);
      throw new GatewayError(kind, `request ${number}: ${message}`, {
        ...(field !== undefined && { field }),
      });
    }
  }

  /** What all requests in hand were sent with knowledge of, the later ones know too. */
  #forgetFailures(latest: Taken): void {
    if (this.#batches.failures < MAX_FAILED_CHANNELS) return;
    const [oldest = latest] = this.#inHand;
    this.#batches.forget(({ response }) => response > 0 && response <= oldest.knownResponses);
    if (this.#batches.failures < MAX_FAILED_CHANNELS) return;
    throw new GatewayError(
      "unavailable",
      "too many channels failed; reconnect, and send again what failed or is unanswered",
    );
  }
}
