/**
 * The correlation id of a call: the caller's (`x-correlation-id`), or one made here so that every log
 * line has one. Only a given one goes into events: a made one would name no piece of business.
 */
import { randomUUID } from "node:crypto";
import type { Metadata } from "@grpc/grpc-js";

export const CORRELATION_HEADER = "x-correlation-id";
const MADE_HEADER = "x-correlation-id-made";
const CORRELATION_ID = /^[A-Za-z0-9_.:@|+=/-]{1,128}$/;
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

export interface Correlation {
  readonly id: string;
  /** Whether the caller gave it. */
  readonly given: boolean;
}

export function isCorrelationId(text: string): boolean {
  return CORRELATION_ID.test(text);
}

/** Whether it is a W3C trace context as we pass it on. */
export function isTraceparent(text: string): boolean {
  return TRACEPARENT.test(text);
}

/** Makes sure that the call has an id, and leaves it in the metadata for `correlationOf`. */
export function stampCorrelation(metadata: Metadata): string {
  const [given] = metadata.get(CORRELATION_HEADER);
  metadata.remove(MADE_HEADER);
  if (typeof given === "string" && isCorrelationId(given)) {
    metadata.set(CORRELATION_HEADER, given);
    return given;
  }
  const made = randomUUID();
  metadata.set(CORRELATION_HEADER, made);
  metadata.set(MADE_HEADER, "1");
  return made;
}

export function correlationOf(metadata: Metadata): Correlation {
  const [id] = metadata.get(CORRELATION_HEADER);
  return {
    id: typeof id === "string" ? id : "",
    given: metadata.get(MADE_HEADER).length === 0,
  };
}

/** The caller's trace context; empty where there is none that can be read. */
export function traceparentOf(metadata: Metadata): string {
  const [given] = metadata.get("traceparent");
  return typeof given === "string" && isTraceparent(given) ? given : "";
}
