/**
 * What was said, confirmed, offered and answered, and what each device was told of it, as it happened: nothing here
 * judges (see `domain-verdict.ts`). Users write and devices hear; a user may have several devices.
 */
import type { LedgerPosition } from "./ledger.js";

/** What the writer may rely on: see `ledger.ts`. */
export type Outcome = "acknowledged" | "refused" | "unknown";

export interface ChatWrite {
  /** Exists once. */
  readonly content: string;
  readonly writer: string;
  readonly channel: string;
  outcome: Outcome;
  /** Of an acknowledged one. */
  messageId: string;
}

/** A receipt for all messages up to one, as its sender knows it. */
export interface ReceiptWrite {
  readonly userId: string;
  readonly channel: string;
  readonly kind: "delivered" | "read";
  readonly number: number;
  outcome: Outcome;
}

/** How an offer ended; the times are the store's. */
export interface OfferEnd {
  readonly state: string;
  readonly winnerId: string;
  readonly expiresAtMs: number;
  readonly endedAtMs: number;
}

export interface OfferWrite {
  readonly offerId: string;
  readonly candidates: readonly string[];
  outcome: Outcome;
  /** By worker: "accepted", "rejected", or the code of the error that answered an accept or a reject. */
  readonly answers: Map<string, string>;
  /** As the API tells it at the end. */
  end: OfferEnd | undefined;
}

export interface HeardChat {
  readonly channel: string;
  readonly position: LedgerPosition;
  readonly messageId: string;
  readonly number: number;
  readonly content: string;
}

export interface HeardOffer {
  readonly offerId: string;
  readonly state: string;
  readonly eventId: string;
  /** False where a worker who comes back is told again of what is still open. */
  readonly isStored: boolean;
}

/** What a device was told, in its order. */
export interface DeviceRecord {
  readonly name: string;
  readonly userId: string;
  readonly channels: ReadonlySet<string>;
  readonly chats: HeardChat[];
  readonly offers: HeardOffer[];
  /** By channel, user and kind. */
  readonly receipts: Map<string, number[]>;
  /** Users whose absence it was told of. */
  readonly offline: string[];
}

/** How far a user has got in a channel, as the store says at the end. */
export interface StoredMark {
  readonly deliveredNumber: number;
  readonly readNumber: number;
}

/** An event of the outbox, as it stands on a topic. */
export interface TopicEvent {
  readonly eventId: string;
  /** "offer.accepted", "chat.message.sent", …. */
  readonly type: string;
  /** The offer's or the message's. */
  readonly subjectId: string;
  /** Who accepted or rejected. */
  readonly workerId: string;
}

export class DomainLedger {
  readonly chats = new Map<string, ChatWrite>();
  readonly receipts: ReceiptWrite[] = [];
  readonly offers = new Map<string, OfferWrite>();
  readonly devices: DeviceRecord[] = [];
  /** By user and channel: see `markKey`. */
  readonly marks = new Map<string, StoredMark>();
  /** Undefined where there is no Kafka to look at. */
  topics: readonly TopicEvent[] | undefined;

  device(name: string, userId: string, channels: ReadonlySet<string>): DeviceRecord {
    const record = {
      ...{ name, userId, channels, chats: [], offers: [], offline: [] },
      receipts: new Map<string, number[]>(),
    };
    this.devices.push(record);
    return record;
  }
}

export function markKey(userId: string, channel: string): string {
  return `${userId} ${channel}`;
}

export function receiptKey(channel: string, userId: string, kind: string): string {
  return `${channel} ${userId} ${kind}`;
}
