/**
 * One unary method on the server: bytes in, bytes out, and the only place where what a handler throws
 * becomes a gRPC status. Bytes that are no message are the caller's fault (INVALID_ARGUMENT), not ours.
 * A handler learns by its signal that nobody waits any more: the caller left or the deadline passed.
 */
import type { handleUnaryCall, Server } from "@grpc/grpc-js";
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { methodNameOf } from "./api-counters.js";
import type { Logger } from "../fanout-logger.js";
import { correlationOf, traceparentOf } from "./correlation.js";
import { statusOf } from "./error-status.js";

/** What a handler may know of its call. */
export interface ApiCall {
  /** As the caller gave it; empty where it did not. */
  readonly correlationId: string;
  /** As the caller gave it; empty where it did not. */
  readonly traceparent: string;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Logs why something failed that the caller is told about without its inside; once for each call. */
  report(error: GatewayError): void;
}

export type ApiHandler<Request, Response> = (request: Request, call: ApiCall) => Promise<Response>;

/** The part of a generated method definition that is needed here. */
export interface UnaryDefinition<Request, Response> {
  readonly path: string;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (response: Response) => Buffer;
}

export interface BoundaryOptions {
  readonly logger: Logger;
  readonly maxCallMs: number;
}

/** Puts a method on a server. */
export type ApiMethod = (server: Server, options: BoundaryOptions) => void;

type Received<Request> = { readonly request: Request } | { readonly unreadable: unknown };

export function apiMethod<Request, Response>(
  definition: UnaryDefinition<Request, Response>,
  handler: ApiHandler<Request, Response>,
): ApiMethod {
  return (server, options) => {
    server.register(
      definition.path,
      boundary(definition.path, handler, options),
      definition.responseSerialize,
      (bytes: Buffer): Received<Request> => {
        try {
          return { request: definition.requestDeserialize(bytes) };
        } catch (error) {
          return { unreadable: error };
        }
      },
      "unary",
    );
  };
}

function boundary<Request, Response>(
  path: string,
  handler: ApiHandler<Request, Response>,
  options: BoundaryOptions,
): handleUnaryCall<Received<Request>, Response> {
  const method = methodNameOf(path);
  return (call, callback) => {
    const correlation = correlationOf(call.metadata);
    const ending = new AbortController();
    let reported = false;
    const context: ApiCall = {
      correlationId: correlation.given ? correlation.id : "",
      traceparent: traceparentOf(call.metadata),
      signal: ending.signal,
      report: (error) => {
        if (reported) return;
        reported = true;
        const fields = { method, correlationId: correlation.id, error: error.kind, ...causeOf(error) };
        if (error.kind === "internal") options.logger.error(fields, "a fault while serving an api call");
        else options.logger.warn(fields, "an api call could not be served");
      },
    };

    const tooLong = setTimeout(() => {
      ending.abort(new GatewayError("expired", "the call took too long; its outcome is unknown"));
    }, options.maxCallMs);
    call.on("cancelled", () => ending.abort(new GatewayError("expired", "the caller left")));

    answer(call.request, handler, context)
      .then(
        (response) => callback(null, response),
        (thrown: unknown) => {
          const error = toGatewayError(thrown);
          if (error.kind === "internal" || error.kind === "unavailable") context.report(error);
          callback(statusOf(error));
        },
      )
      .finally(() => clearTimeout(tooLong))
      .catch((error: unknown) => {
        context.report(toGatewayError(error));
      });
  };
}

async function answer<Request, Response>(
  received: Received<Request>,
  handler: ApiHandler<Request, Response>,
  context: ApiCall,
): Promise<Response> {
  if ("unreadable" in received) {
    throw new GatewayError("invalid_argument", "the request is not a message of this method", {
      cause: received.unreadable,
    });
  }
  const { signal } = context;
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(toGatewayError(signal.reason));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([handler(received.request, context), aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}

/**
 * Of a cause only these are logged: errors of store clients carry the command's arguments, and so the
 * bodies of events, in other properties.
 */
function causeOf(error: GatewayError): { cause?: string; stack?: string } {
  const { cause } = error;
  if (!(cause instanceof Error)) return {};
  return {
    cause: `${cause.name}: ${cause.message}`,
    ...(error.kind === "internal" && cause.stack !== undefined && { stack: cause.stack }),
  };
}
