/**
 * A position that a client sends: it was given to the client here, but may be anything. Its epoch is kept and
 * compared, so its length is bounded; whether it is a place in the stored history is for who reads that.
 */
import { GatewayError } from "#proto/errors.js";
import type { StreamPosition } from "./broker.js";

/** Several times the longest that is ever made. */
const MAX_EPOCH_LENGTH = 64;

/** @throws GatewayError invalid_argument, about this field. */
export function checkPosition(position: StreamPosition | undefined, field: string): void {
  if (position === undefined || position.epoch.length <= MAX_EPOCH_LENGTH) return;
  throw new GatewayError("invalid_argument", `an epoch has at most ${MAX_EPOCH_LENGTH} characters`, {
    field,
  });
}
