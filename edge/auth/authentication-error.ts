/**
 * Why somebody was not let in: a GatewayError with a reason out of a closed set, which is the label of
 * `realtime_authentication_errors_total`. What is told to the client and whether they should get a new
 * token follows from the reason by one table. Messages never hold any part of a token.
 */
import { GatewayError, type ErrorName } from "#proto/errors.js";

/** Each reason, and the error that the client gets for it. */
const ERROR_BY_REASON = {
  /** There is no token. */
  missing: "unauthenticated",
  /** No token came within the time that a socket has for it. */
  deadline: "unauthenticated",
  /** It is no JWT, or a longer one than anybody needs. */
  malformed: "unauthenticated",
  /** It is signed in a way that is not configured here; "none" too. */
  algorithm: "unauthenticated",
  /** Its header asks for something that this verifier does not do (`crit`). */
  unsupported_header: "unauthenticated",
  bad_signature: "unauthenticated",
  /** Its key is not, or no more, among the provider's. */
  unknown_key: "unauthenticated",
  expired: "expired",
  not_yet_valid: "unauthenticated",
  /** It lives for ever, or longer than revocations are kept. */
  lifetime: "unauthenticated",
  wrong_issuer: "unauthenticated",
  wrong_audience: "unauthenticated",
  /** A claim is missing or has a value that nothing here can work with. */
  claims: "unauthenticated",
  /** The client says to be something else than the token says. */
  user_type: "permission_denied",
  /** The provider of keys is away; the token may be good: the client comes back with the same one. */
  keys_unavailable: "unavailable",
  /** A fault of the gateway. */
  internal: "internal",
} as const satisfies Record<string, ErrorName>;

export type AuthenticationFailure = keyof typeof ERROR_BY_REASON;

export class AuthenticationError extends GatewayError {
  constructor(
    readonly reason: AuthenticationFailure,
    message: string,
    details: { readonly retryAfterMs?: number; readonly cause?: unknown } = {},
  ) {
    super(ERROR_BY_REASON[reason], message, details);
  }
}
