/**
 * One method on the server whose requests and responses are streams. It reads as long as the work takes more
 * and the caller reads its answers, else it leaves requests to the transport's flow control. However the call
 * ends (the caller is done, sent what is no request, or this server ends), what was taken before is answered
 * first. Only a caller that has left, or a request that takes longer than any may, ends it at once.
 */
import { Metadata, type handleBidiStreamingCall, type ServerDuplexStream } from "@grpc/grpc-js";
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { methodNameOf } from "./api-counters.js";
import {
  apiCallOf,
  readerOf,
  unreadable,
  type ApiCall,
  type ApiMethod,
  type BoundaryOptions,
  type MethodDefinition,
  type Received,
} from "./api-method.js";
import { statusOf } from "./error-status.js";
import type { OpenStream } from "./open-streams.js";

/** What a call does with its requests. */
export interface StreamWork<Request, Response> {
  /**
   * Begins on a request; answers it once, later.
   * @throws GatewayError with which the call ends, behind the answers to what was taken before.
   */
  take(request: Request, sizeBytes: number, answer: (response: Response) => void): void;
  /** Whether nothing more is to be read until something is answered. */
  readonly isFull: boolean;
  /** Read and not answered. */
  readonly itemsInHand: number;
}

/** Some messages are decoded ahead of reading: a stream's are bounded more narrowly than a call's. */
const MAX_REQUEST_BYTES = 1024 * 1024;

export function apiStream<Request, Response>(
  definition: MethodDefinition<Request, Response>,
  begin: (call: ApiCall) => StreamWork<Request, Response>,
): ApiMethod {
  return (server, options) => {
    const read = readerOf(definition);
    const method = methodNameOf(definition.path);
    const handle: handleBidiStreamingCall<Received<Request>, Response> = (call) => {
      const ending = new AbortController();
      const context = apiCallOf(call.metadata, { method, signal: ending.signal, logger: options.logger });
      new StreamCall({ call, work: begin(context), context, ending, options }).begin();
    };
    server.register(
      definition.path,
      handle,
      definition.responseSerialize,
      (bytes: Buffer): Received<Request> => (bytes.length > MAX_REQUEST_BYTES ? tooLarge() : read(bytes)),
      "bidi",
    );
  };
}

interface StreamCallOptions<Request, Response> {
  readonly call: ServerDuplexStream<Received<Request>, Response>;
  readonly work: StreamWork<Request, Response>;
  readonly context: ApiCall;
  readonly ending: AbortController;
  readonly options: BoundaryOptions;
}

type Phase =
  | { readonly name: "reading" }
  /** Nothing more is read; it ends, with the error if there is one, when everything is answered. */
  | { readonly name: "ending"; readonly error: GatewayError | undefined }
  | { readonly name: "ended" };

class StreamCall<Request, Response> implements OpenStream {
  readonly #options: StreamCallOptions<Request, Response>;
  /** When the requests in hand were taken, the oldest first. */
  readonly #inHand = new Set<{ readonly takenAtMs: number }>();
  #phase: Phase = { name: "reading" };
  #callerIsBehind = false;
  #isPaused = false;
  #watch: NodeJS.Timeout | undefined;

  constructor(options: StreamCallOptions<Request, Response>) {
    this.#options = options;
  }

  get itemsInHand(): number {
    return this.#options.work.itemsInHand;
  }

  begin(): void {
    const { call, ending, options } = this.#options;
    call.on("data", (received: Received<Request>) => this.#receive(received));
    call.on("end", () => this.#endWith(undefined));
    call.on("drain", () => {
      this.#callerIsBehind = false;
      this.#regulate();
    });
    call.on("cancelled", () => {
      ending.abort(new GatewayError("expired", "the caller left"));
      this.#ended();
    });
    // The caller's library hands it the call only with the headers.
    call.sendMetadata(new Metadata());
    options.streams.opened(this);
  }

  drain(): void {
    this.#endWith(
      new GatewayError(
        "unavailable",
        "this server ends; reconnect, and send again what is unanswered, with the same idempotency keys",
      ),
    );
  }

  #receive(received: Received<Request>): void {
    if (this.#phase.name !== "reading") return;
    if ("unreadable" in received) {
      this.#endWith(unreadable(received));
      return;
    }
    const taken = { takenAtMs: performance.now() };
    try {
      this.#options.work.take(received.request, received.sizeBytes, (response) => {
        this.#inHand.delete(taken);
        this.#answer(response);
      });
    } catch (thrown) {
      this.#endWith(toGatewayError(thrown));
      return;
    }
    this.#inHand.add(taken);
    this.#watchOldest();
    this.#regulate();
  }

  #answer(response: Response): void {
    if (this.#phase.name === "ended") return;
    if (!this.#options.call.write(response)) this.#callerIsBehind = true;
    if (this.#phase.name === "ending") this.#finishWhenAnswered();
    else this.#regulate();
  }

  #regulate(): void {
    if (this.#phase.name !== "reading") return;
    const { call, work } = this.#options;
    const mustPause = this.#callerIsBehind || work.isFull;
    if (mustPause === this.#isPaused) return;
    this.#isPaused = mustPause;
    if (mustPause) call.pause();
    else call.resume();
  }

  #endWith(error: GatewayError | undefined): void {
    if (this.#phase.name !== "reading") return;
    this.#phase = { name: "ending", error };
    this.#options.call.pause();
    this.#finishWhenAnswered();
  }

  #finishWhenAnswered(): void {
    if (this.#phase.name !== "ending" || this.#inHand.size > 0) return;
    this.#finish(this.#phase.error);
  }

  #finish(error: GatewayError | undefined): void {
    const { call, context } = this.#options;
    if (error?.kind === "internal") context.report(error);
    this.#ended();
    // Behind the answers, which are written by then.
    if (error === undefined) call.end();
    else call.emit("error", statusOf(error));
  }

  #ended(): void {
    this.#phase = { name: "ended" };
    clearTimeout(this.#watch);
    this.#options.options.streams.closed(this);
  }

  /** A request has as long as a call; what hangs must not hold a stream for ever. */
  #watchOldest(): void {
    const [oldest] = this.#inHand;
    if (this.#watch !== undefined || oldest === undefined) return;
    const { ending, options } = this.#options;
    const leftMs = oldest.takenAtMs + options.maxCallMs - performance.now();
    this.#watch = setTimeout(() => {
      this.#watch = undefined;
      if (this.#phase.name === "ended") return;
      const [stillOldest] = this.#inHand;
      if (stillOldest !== oldest) {
        this.#watchOldest();
        return;
      }
      const tooLong = new GatewayError("expired", "a request took too long; its outcome is unknown");
      ending.abort(tooLong);
      this.#finish(tooLong);
    }, leftMs);
  }
}

function tooLarge(): { readonly unreadable: GatewayError } {
  const message = `a request of a stream has at most ${MAX_REQUEST_BYTES} bytes`;
  return { unreadable: new GatewayError("payload_too_large", message) };
}
