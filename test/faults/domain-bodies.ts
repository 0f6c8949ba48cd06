/** What the checker of chat, offers and presence reads of an event's body: of both native framings the same. */
import { OfferState, ReceiptKind, type Event } from "#proto/gen/realtime/client/v1/event.js";

export type DomainBody =
  | {
      readonly type: "chat";
      readonly messageId: string;
      readonly number: number;
      readonly content: string;
    }
  | { readonly type: "receipt"; readonly userId: string; readonly kind: string; readonly number: number }
  | { readonly type: "offer"; readonly offerId: string; readonly state: string }
  | { readonly type: "presence"; readonly userId: string; readonly online: boolean };

/** The proto3 JSON of what is read here: zeros, false and empty texts are left out, 64-bit numbers are texts. */
export interface JsonDomainBodies {
  readonly chatMessage?: { readonly messageId?: string; readonly number?: string; readonly content?: string };
  readonly receipt?: { readonly userId?: string; readonly kind?: string; readonly number?: string };
  readonly offer?: { readonly offerId?: string; readonly state?: string };
  readonly presence?: { readonly userId?: string; readonly online?: boolean };
}

const STATE_WORDS = wordsOf(OfferState, "OFFER_STATE_");
const KIND_WORDS = wordsOf(ReceiptKind, "RECEIPT_KIND_");

export function domainBodyOf(body: Event["body"]): DomainBody | undefined {
  switch (body?.$case) {
    case "chatMessage": {
      const { messageId, number, content } = body.value;
      return { type: "chat", messageId, number, content };
    }
    case "receipt": {
      const { userId, kind, number } = body.value;
      return { type: "receipt", userId, kind: KIND_WORDS.get(kind) ?? "?", number };
    }
    case "offer": {
      const { offerId, state } = body.value;
      return { type: "offer", offerId, state: STATE_WORDS.get(state) ?? "?" };
    }
    case "presence":
      return { type: "presence", userId: body.value.userId, online: body.value.online };
    default:
      return undefined;
  }
}

export function domainBodyOfJson(event: JsonDomainBodies): DomainBody | undefined {
  const { chatMessage, receipt, offer, presence } = event;
  if (chatMessage !== undefined) {
    const { messageId = "", number = "0", content = "" } = chatMessage;
    return { type: "chat", messageId, number: Number(number), content };
  }
  if (receipt !== undefined) {
    const { userId = "", kind = "", number = "0" } = receipt;
    return { type: "receipt", userId, kind: wordOf(kind, "RECEIPT_KIND_"), number: Number(number) };
  }
  if (offer !== undefined) {
    const { offerId = "", state = "" } = offer;
    return { type: "offer", offerId, state: wordOf(state, "OFFER_STATE_") };
  }
  if (presence === undefined) return undefined;
  const { userId = "", online = false } = presence;
  return { type: "presence", userId, online };
}

function wordsOf(values: Readonly<Record<string, number>>, prefix: string): ReadonlyMap<number, string> {
  return new Map(Object.entries(values).map(([name, value]) => [value, wordOf(name, prefix)]));
}

/** "OFFER_STATE_OPEN" is "open". */
function wordOf(name: string, prefix: string): string {
  return name.replace(prefix, "").toLowerCase();
}
