/**
 * How an error leaves the API: gRPC status and text by the one table of `proto/errors.ts`, and beside it,
 * in the trailer `realtime-error-bin`, the whole `realtime.client.v1.Error` (its exact code, the field at
 * fault, when to try again), because a gRPC status has no place for them.
 */
import { Metadata, type status } from "@grpc/grpc-js";
import { ERROR_KINDS, type GatewayError } from "#proto/errors.js";
import { Error as ErrorMessage } from "#proto/gen/realtime/client/v1/errors.js";

export const ERROR_TRAILER = "realtime-error-bin";

export interface ErrorStatus {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

export function statusOf(error: GatewayError): ErrorStatus {
  const metadata = new Metadata();
  metadata.set(ERROR_TRAILER, Buffer.from(ErrorMessage.encode(error.toMessage()).finish()));
  // Not every caller reads the trailer: the text alone must say which field is at fault.
  const details = error.field === undefined ? error.message : `${error.field}: ${error.message}`;
  return { code: ERROR_KINDS[error.kind].grpcStatus, details, metadata };
}
