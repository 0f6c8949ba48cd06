/** A session that may not begin or go on here: the client is told why, and closed with a code that says what to do. */
import type { CloseCode } from "#proto/close-codes.js";
import { GatewayError, type ErrorName } from "#proto/errors.js";

export class SessionRefused extends GatewayError {
  constructor(
    kind: ErrorName,
    message: string,
    readonly closeCode: CloseCode,
  ) {
    super(kind, message);
  }
}
