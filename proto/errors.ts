/**
 * The one error class of the gateway, and the one table that maps its closed set of codes to gRPC
 * statuses and to WebSocket close codes. Unknown errors become `internal` once, at a boundary, by
 * `toGatewayError`; what they said stays in the log and never reaches a client.
 */
import { status } from "@grpc/grpc-js";
import { ErrorCode, type Error as ErrorMessage } from "./gen/realtime/client/v1/errors.js";
import { CloseCode } from "./close-codes.js";

export type ErrorName =
  | "unauthenticated"
  | "permission_denied"
  | "invalid_argument"
  | "not_found"
  | "conflict"
  | "expired"
  | "rate_limited"
  | "payload_too_large"
  | "unavailable"
  | "unsupported"
  | "internal";

interface ErrorKind {
  /** The code in the contract. */
  readonly code: ErrorCode;
  /** What a gRPC caller gets. */
  readonly grpcStatus: status;
  /** With what a socket is closed, where the error ends it. */
  readonly closeCode: CloseCode;
}

export const ERROR_KINDS: Readonly<Record<ErrorName, ErrorKind>> = {
  unauthenticated: {
    code: ErrorCode.ERROR_CODE_UNAUTHENTICATED,
    grpcStatus: status.UNAUTHENTICATED,
    closeCode: CloseCode.UNAUTHENTICATED,
  },
  permission_denied: {
    code: ErrorCode.ERROR_CODE_PERMISSION_DENIED,
    grpcStatus: status.PERMISSION_DENIED,
    closeCode: CloseCode.FORBIDDEN,
  },
  invalid_argument: {
    code: ErrorCode.ERROR_CODE_INVALID_ARGUMENT,
    grpcStatus: status.INVALID_ARGUMENT,
    closeCode: CloseCode.PROTOCOL_ERROR,
  },
  not_found: {
    code: ErrorCode.ERROR_CODE_NOT_FOUND,
    grpcStatus: status.NOT_FOUND,
    closeCode: CloseCode.PROTOCOL_ERROR,
  },
  conflict: {
    code: ErrorCode.ERROR_CODE_CONFLICT,
    grpcStatus: status.ABORTED,
    closeCode: CloseCode.REPLACED,
  },
  expired: {
    code: ErrorCode.ERROR_CODE_EXPIRED,
    grpcStatus: status.DEADLINE_EXCEEDED,
    closeCode: CloseCode.TOKEN_EXPIRED,
  },
  rate_limited: {
    code: ErrorCode.ERROR_CODE_RATE_LIMITED,
    grpcStatus: status.RESOURCE_EXHAUSTED,
    closeCode: CloseCode.OVERLOADED,
  },
  payload_too_large: {
    code: ErrorCode.ERROR_CODE_PAYLOAD_TOO_LARGE,
    grpcStatus: status.INVALID_ARGUMENT,
    closeCode: CloseCode.PROTOCOL_ERROR,
  },
  unavailable: {
    code: ErrorCode.ERROR_CODE_UNAVAILABLE,
    grpcStatus: status.UNAVAILABLE,
    closeCode: CloseCode.OVERLOADED,
  },
  unsupported: {
    code: ErrorCode.ERROR_CODE_UNSUPPORTED,
    grpcStatus: status.UNIMPLEMENTED,
    closeCode: CloseCode.PROTOCOL_ERROR,
  },
  internal: {
    code: ErrorCode.ERROR_CODE_INTERNAL,
    grpcStatus: status.INTERNAL,
    closeCode: CloseCode.INTERNAL,
  },
};

export interface ErrorDetails {
  /** Path of the field at fault, as in "location_update.latitude". */
  readonly field?: string;
  /** When trying again makes sense. */
  readonly retryAfterMs?: number;
  /** What caused it; logged, never sent. */
  readonly cause?: unknown;
}

/** An error that may be told to a caller: its message holds no secret and no foreign text. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly field: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    readonly kind: ErrorName,
    message: string,
    details: ErrorDetails = {},
  ) {
    super(message, { cause: details.cause });
    this.field = details.field;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** The error as the contract says it. */
  toMessage(): ErrorMessage {
    return {
      code: ERROR_KINDS[this.kind].code,
      message: this.message,
      field: this.field ?? "",
      retryAfterMs: this.retryAfterMs,
    };
  }
}

/** Turns anything thrown into an error that may be told; use once, at a boundary. */
export function toGatewayError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  return new GatewayError("internal", "an internal error; repeat with the same request id", {
    cause: thrown,
  });
}
