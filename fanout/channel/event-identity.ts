/**
 * What events of clients and of backend services share: an id that follows from the idempotency key, so that
 * a repeat gets the first one's answer wherever it arrives, and the bound of their size.
 */
import { createHash } from "node:crypto";
import { encode } from "#proto/encode.js";
import { GatewayError } from "#proto/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { Channel } from "./channel.js";

/** Of clients and of the API. */
const MAX_EVENT_BYTES = 64 * 1024;

/** The id of the event that is made under this key in this channel. */
export function eventIdFor(channel: Channel, idempotencyKey: string): string {
  const digest = createHash("sha256").update(`${channel.key}\n${idempotencyKey}`, "utf8").digest("hex");
  return digest.slice(0, 32);
}

/** @throws GatewayError payload_too_large naming the field. */
export function checkEventSize(event: Event, field: string, maxBytes = MAX_EVENT_BYTES): void {
  if (encode(Event, event).length <= maxBytes) return;
  throw new GatewayError("payload_too_large", `an event has at most ${maxBytes} bytes`, { field });
}
