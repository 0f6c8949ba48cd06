/**
 * One unary method on the server: bytes in, bytes out, and the place where what a handler throws becomes a
 * gRPC status. Bytes that are no message are the caller's fault (INVALID_ARGUMENT), not ours. A handler learns
 * by its signal that nobody waits any more: the caller left or the deadline passed. Streams, which share what
 * is said here of a call, are in `api-stream.ts`.
 */
import type { handleUnaryCall, Metadata, Server } from "@grpc/grpc-js";
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { methodNameOf, type ApiMethodName } from "./api-counters.js";
import type { Logger } from "../fanout-logger.js";
import { correlationOf, traceparentOf } from "./correlation.js";
import { statusOf } from "./error-status.js";
import type { OpenStreams } from "./open-streams.js";

/** What a handler may know of its call. */
export interface ApiCall {
  /** As the caller gave it; empty where it did not. */
  readonly correlationId: string;
  /** As the caller gave it; empty where it did not. */
  readonly traceparent: string;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Logs why something failed that the caller is told about without its inside; once in a while for each call. */
  report(error: GatewayError): void;
}

export type ApiHandler<Request, Response> = (request: Request, call: ApiCall) => Promise<Response>;

/** The part of a generated method definition that is needed here. */
export interface MethodDefinition<Request, Response> {
  readonly path: string;
  readonly requestDeserialize: (bytes: Buffer) => Request;
  readonly responseSerialize: (response: Response) => Buffer;
}

export interface BoundaryOptions {
  readonly logger: Logger;
  readonly maxCallMs: number;
  readonly streams: OpenStreams;
}

/** Puts a method on a server. */
export type ApiMethod = (server: Server, options: BoundaryOptions) => void;

export type Received<Request> =
  { readonly request: Request; readonly sizeBytes: number } | { readonly unreadable: unknown };

/** A call may be long, and each of its requests fail for the same reason. */
const REPORT_INTERVAL_MS = 10_000;

export function apiMethod<Request, Response>(
  definition: MethodDefinition<Request, Response>,
  handler: ApiHandler<Request, Response>,
): ApiMethod {
  return (server, options) => {
    server.register(
      definition.path,
      boundary(definition.path, handler, options),
      definition.responseSerialize,
      readerOf(definition),
      "unary",
    );
  };
}

/** Reads a request. Never throws: that would be told as a fault of ours. */
export function readerOf<Request, Response>(
  definition: MethodDefinition<Request, Response>,
): (bytes: Buffer) => Received<Request> {
  return (bytes) => {
    try {
      return { request: definition.requestDeserialize(bytes), sizeBytes: bytes.length };
    } catch (error) {
      return { unreadable: error };
    }
  };
}

/** What is told of a request that is none. */
export function unreadable({ unreadable: cause }: { readonly unreadable: unknown }): GatewayError {
  if (cause instanceof GatewayError) return cause;
  return new GatewayError("invalid_argument", "the request is not a message of this method", { cause });
}

export function apiCallOf(
  metadata: Metadata,
  about: { readonly method: ApiMethodName; readonly signal: AbortSignal; readonly logger: Logger },
): ApiCall {
  const { method, signal, logger } = about;
  const correlation = correlationOf(metadata);
  let reportedAtMs = -Infinity;
  return {
    correlationId: correlation.given ? correlation.id : "",
    traceparent: traceparentOf(metadata),
    signal,
    report: (error) => {
      if (performance.now() - reportedAtMs < REPORT_INTERVAL_MS) return;
      reportedAtMs = performance.now();
      const fields = { method, correlationId: correlation.id, error: error.kind, ...causeOf(error) };
      if (error.kind === "internal") logger.error(fields, "a fault while serving an api call");
      else logger.warn(fields, "an api call could not be served");
    },
  };
}

function boundary<Request, Response>(
  path: string,
  handler: ApiHandler<Request, Response>,
  options: BoundaryOptions,
): handleUnaryCall<Received<Request>, Response> {
  const method = methodNameOf(path);
  return (call, callback) => {
    const ending = new AbortController();
    const { logger } = options;
    const context = apiCallOf(call.metadata, { method, signal: ending.signal, logger });

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
  if ("unreadable" in received) throw unreadable(received);
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
