/**
 * What every call passes first, before a byte of its message is read: its credentials, the bound of calls
 * in flight, its correlation id. It also sees how each call ended: one count and one log line for each.
 * The health service needs no credentials; everything else on the server does, reflection too.
 */
import {
  Metadata,
  ServerInterceptingCall,
  status,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import { GatewayError } from "#proto/errors.js";
import type { ApiAccess } from "./api-access.js";
import { methodNameOf, type ApiCounters, type ApiMethodName } from "./api-counters.js";
import type { ApiLimits } from "./api-limits.js";
import type { Logger } from "../fanout-logger.js";
import { CORRELATION_HEADER, stampCorrelation } from "./correlation.js";
import { statusOf } from "./error-status.js";

export interface ApiGateOptions {
  readonly access: ApiAccess;
  readonly counters: ApiCounters;
  readonly limits: ApiLimits;
  readonly logger: Logger;
}

const BUSY_RETRY_MS = 1_000;

export class ApiGate {
  readonly #access: ApiAccess;
  readonly #counters: ApiCounters;
  readonly #limits: ApiLimits;
  readonly #logger: Logger;
  /** Health watches and reflection: they never end by themselves. Bounded as the calls in flight are. */
  readonly #streams = new Set<ServerInterceptingCall>();
  #serviceCalls = 0;
  #publishStreams = 0;
  #healthCalls = 0;

  constructor(options: ApiGateOptions) {
    this.#access = options.access;
    this.#counters = options.counters;
    this.#limits = options.limits;
    this.#logger = options.logger;
  }

  get callsInFlight(): number {
    return this.#serviceCalls + this.#publishStreams + this.#healthCalls;
  }

  /** Ends the calls that would keep a shutdown waiting for ever, and have nothing in hand. */
  endStreams(): void {
    for (const stream of this.#streams) {
      stream.sendStatus({ code: status.UNAVAILABLE, details: "the server is shutting down" });
    }
  }

  readonly intercept: ServerInterceptor = (method, call) => {
    const name = methodNameOf(method.path);
    const startedAtMs = performance.now();
    let correlationId = "";
    let admitted = false;
    let ended = false;

    const end = (code: status) => {
      if (ended) return;
      ended = true;
      if (admitted) this.#count(name, -1);
      this.#streams.delete(intercepted);
      this.#counters.countCall(name, code);
      this.#logEnd(name, { code, correlationId, durationMs: performance.now() - startedAtMs });
    };

    const intercepted: ServerInterceptingCall = new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, forward) => {
            correlationId = stampCorrelation(metadata);
            const refusal = this.#refusal(name, metadata, call);
            if (refusal !== undefined) {
              intercepted.sendStatus(statusOf(refusal));
              return;
            }
            admitted = true;
            this.#count(name, 1);
            if (method.responseStream && name !== "PublishStream") this.#streams.add(intercepted);
            metadata.remove("authorization");
            forward(metadata);
          },
          onCancel: () => end(hasPassed(call) ? status.DEADLINE_EXCEEDED : status.CANCELLED),
        });
      },
      sendMetadata: (metadata, next) => {
        metadata.set(CORRELATION_HEADER, correlationId);
        next(metadata);
      },
      sendStatus: (ending, next) => {
        const metadata = ending.metadata ?? new Metadata();
        metadata.set(CORRELATION_HEADER, correlationId);
        end(ending.code);
        next({ ...ending, metadata });
      },
    });
    return intercepted;
  };

  #refusal(
    name: ApiMethodName,
    metadata: Metadata,
    call: ServerInterceptingCallInterface,
  ): GatewayError | undefined {
    if (name === "health")
      return this.#healthCalls < this.#limits.maxHealthCallsInFlight ? undefined : busy();
    if (!this.#access.admits(metadata, call.getAuthContext())) {
      return new GatewayError(
        "unauthenticated",
        "call with `authorization: Bearer <service token>`, or with a client certificate where those are set up",
      );
    }
    if (name === "PublishStream")
      return this.#publishStreams < this.#limits.maxPublishStreams ? undefined : busy();
    return this.#serviceCalls < this.#limits.maxCallsInFlight ? undefined : busy();
  }

  #count(name: ApiMethodName, change: 1 | -1): void {
    if (name === "health") this.#healthCalls += change;
    else if (name === "PublishStream") this.#publishStreams += change;
    else this.#serviceCalls += change;
  }

  #logEnd(method: ApiMethodName, call: { code: status; correlationId: string; durationMs: number }): void {
    const fields = {
      method,
      code: status[call.code],
      correlationId: call.correlationId,
      durationMs: Math.round(call.durationMs),
    };
    // Successes are the many; a refused caller is worth a line, a fault of ours has its own in api-method.ts.
    if (call.code === status.OK || method === "health") this.#logger.debug(fields, "api call");
    else this.#logger.info(fields, "api call failed");
  }
}

function busy(): GatewayError {
  return new GatewayError("unavailable", "too many calls at once; try again later", {
    retryAfterMs: BUSY_RETRY_MS,
  });
}

function hasPassed(call: ServerInterceptingCallInterface): boolean {
  const deadline = call.getDeadline();
  return Date.now() >= (deadline instanceof Date ? deadline.getTime() : deadline);
}
