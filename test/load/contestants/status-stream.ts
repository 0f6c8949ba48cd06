/**
 * A backend's stream of order statuses to one fanout: each request is answered for itself, while others are
 * under way. How many those are is the caller's to bound. An item that is not taken rejects its request; the
 * end of the call rejects all that have no answer.
 */
import type { Json } from "#test/contract/api-client.js";
import type { ApiStream, StreamedAnswer } from "#test/contract/api-stream.js";
import type { BackendEvent } from "../contestant.js";

export interface StatusStreamOptions {
  readonly itemOf: (event: BackendEvent) => Json;
  /** Throws where one was refused. */
  readonly assertTaken: (results: StreamedAnswer["results"]) => void;
}

interface Unanswered {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class StatusStream {
  readonly #stream: ApiStream;
  readonly #options: StatusStreamOptions;
  readonly #unanswered = new Map<number, Unanswered>();
  readonly #ended: Promise<void>;
  #number = 0;
  #responsesRead = 0;

  constructor(stream: ApiStream, options: StatusStreamOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.onAnswer((answer) => this.#answered(answer));
    this.#ended = stream.ended.then(({ code, details }) => {
      const error = new Error(`the stream ended with ${code}: ${details}`);
      for (const { reject } of this.#unanswered.values()) reject(error);
      this.#unanswered.clear();
    });
  }

  publish(events: readonly BackendEvent[]): Promise<void> {
    this.#number += 1;
    const number = this.#number;
    const items = events.map((event) => this.#options.itemOf(event));
    return new Promise((resolve, reject) => {
      this.#unanswered.set(number, { resolve, reject });
      this.#stream.send({ number, items, responses_read: this.#responsesRead });
    });
  }

  /** Resolves when the call has ended, behind its last answer. */
  async end(): Promise<void> {
    this.#stream.end();
    await this.#ended;
  }

  #answered({ number, results }: StreamedAnswer): void {
    this.#responsesRead += 1;
    const request = this.#unanswered.get(number);
    this.#unanswered.delete(number);
    try {
      this.#options.assertTaken(results);
      request?.resolve();
    } catch (error) {
      request?.reject(error);
    }
  }
}
