/**
 * How a change of an offer stands in Redis: JSON whose numbers are texts, written by `lua/change-offer.lua`. Read for
 * delivery, and by the outbox, whose entries hold it beside the offer's template.
 */
import { encode } from "#proto/encode.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { outboxEvent } from "./offer-events.js";
import type { ChangeKind, OfferChange } from "./offer.js";

const KINDS: ReadonlySet<string> = new Set<ChangeKind>([
  "open",
  "asked",
  "rejected",
  "passed",
  "accepted",
  "withdrawn",
  "expired",
]);

/** Undefined where it is not one that this release knows. */
export function readChange(text: string): OfferChange | undefined {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof fields !== "object" || fields === null) return undefined;
  const values = new Map<string, unknown>(Object.entries(fields));
  const word = (name: string): string => {
    const value = values.get(name);
    return typeof value === "string" ? value : "";
  };
  const kind = word("kind");
  const revision = Number(word("revision"));
  if (!isKind(kind) || !Number.isSafeInteger(revision) || revision < 1) return undefined;
  return {
    revision,
    kind,
    timeMs: Number(word("time")),
    userId: word("user"),
    role: word("role"),
    reason: word("reason"),
    fencingNumber: Number(word("fence")),
    expiresAtMs: Number(word("expires")),
    marks: word("marks"),
  };
}

/** The event of an outbox entry. What cannot be read stays as it is: the relay puts it aside. */
export function outboxPayload(
  template: Uint8Array,
  entry: { eventId: string; changeText: string },
): Uint8Array {
  const change = readChange(entry.changeText);
  if (change === undefined) return template;
  try {
    return encode(Event, outboxEvent(template, entry.eventId, change));
  } catch {
    return template;
  }
}

function isKind(word: string): word is ChangeKind {
  return KINDS.has(word);
}
