/**
 * The offers port: offers by state, each in one partition of the store, changed only by commands that are one atomic
 * step by the store's clock. A step that changes an offer also keeps the changes for delivery to its candidates, and
 * adds them to the outbox, so nothing that was answered can be forgotten. Delivering is `offer-delivery.ts`.
 *
 * Implementations: `offers-memory.ts`, `offers-redis.ts`; one contract suite: `offers.contract.ts`. Every method fails
 * with GatewayError `unavailable` while the store is away, and `apply` also where too much waits for Kafka.
 */
import { GatewayError } from "#proto/errors.js";
import type { OfferCommand, OfferOutcome } from "./offer-machine.js";
import type { OfferChange, OfferName, OfferStateName, OfferView } from "./offer.js";

/** Open offers in one partition of the store; one more is refused. */
export const MAX_OPEN_OFFERS = 10_000;
/** How long an offer is remembered after its end and its deadline, where nobody says. */
export const DEFAULT_OFFER_RETENTION_MS = 3_600_000;
/** How long a subject's last fencing number is remembered; after it, the store's time takes its place. */
export const FENCING_MEMORY_MS = 30 * 86_400_000;
/** Offers that are remembered for a user who was asked; the one that ends first is forgotten. */
export const MAX_ASKED = 100;

/** Offers of each kind that one look finds, about: each partition has its share, so that none hides the others'. */
const DUE_AT_ONCE = 500;
const MIN_DUE_SHARE = 8;

/** How many of each kind are found in one partition. */
export function dueShare(partitions: number): number {
  return Math.max(MIN_DUE_SHARE, Math.ceil(DUE_AT_ONCE / Math.max(1, partitions)));
}

export interface OfferAnswer {
  readonly outcome: OfferOutcome;
  /** Undefined where there is no such offer. */
  readonly state: OfferStateName | undefined;
  readonly subjectId: string;
  readonly fencingNumber: number;
  /** 0 while it is open. */
  readonly endedAtMs: number;
  /** How many changes the command made. */
  readonly changes: number;
  /** How long the oldest change that is not delivered has waited; undefined where all are delivered. */
  readonly undeliveredForMs: number | undefined;
}

/** What is to be told, oldest first. */
export interface UndeliveredChanges {
  readonly template: Uint8Array;
  readonly seed: string;
  readonly candidates: readonly string[];
  readonly changes: readonly OfferChange[];
}

/** What has to be looked at: bounded in each partition, so there may be more. */
export interface DueOffers {
  /** Those that time alone changes by now. */
  readonly overdue: readonly OfferName[];
  /** Those whose changes have waited too long for whoever made them. */
  readonly undelivered: readonly OfferName[];
  /** How many are open in all: each partition has room for a bounded number. */
  readonly open: number;
}

export interface Offers {
  /** How long an offer is remembered after its end and its deadline. */
  readonly retentionMs: number;
  /** One step. Time that has passed is dealt with by it too. */
  apply(name: OfferName, command: OfferCommand): Promise<OfferAnswer>;
  /**
   * Where it stands since its last command; undefined where there is no such offer, or it is forgotten.
   * For time that has passed since there is the command `look`.
   */
  view(name: OfferName): Promise<OfferView | undefined>;
  /** What was changed and not yet marked as delivered. */
  undelivered(name: OfferName): Promise<UndeliveredChanges | undefined>;
  /** Exactly these are delivered; those that were before are no fault. */
  delivered(name: OfferName, revisions: readonly number[]): Promise<void>;
  due(partitions: readonly number[], undeliveredForMs: number): Promise<DueOffers>;
  /** Greater than each number that was drawn for the subject before. */
  nextFencingNumber(app: string, subjectId: string): Promise<number>;
  /**
   * Remembers whom an offer asks, until when: an index beside the offer, which is the truth. With a time that has
   * passed it is forgotten.
   */
  noteAsked(app: string, userId: string, asked: { offerId: string; untilMs: number }): Promise<void>;
  /** The offers that asked the user and whose time is not over. They may have ended in another way. */
  askedOf(app: string, userId: string): Promise<readonly string[]>;
}

export function tooManyOffers(): GatewayError {
  return new GatewayError("unavailable", "too many offers are open; try again", { retryAfterMs: 5_000 });
}
