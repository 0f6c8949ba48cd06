/**
 * Handshakes that wait for their turn because a rate was reached: at the edge, or of their address. The
 * oldest whose address has its rate left is next; those whose address has not do not hold up others. Who
 * cannot have a turn within the longest wait is not let in at all. Pure: time is passed in.
 */
import type { AddressBook, AddressRecord } from "./address-book.js";
import type { TokenBucket } from "./token-bucket.js";

/** A handshake's place in the line. */
export interface WaitingPlace {
  readonly record: AddressRecord;
  readonly sinceMs: number;
}

export interface WaitingLimits {
  /** At the edge. 0: nobody waits. */
  readonly maxWaitingHandshakes: number;
  readonly maxWaitMs: number;
}

export interface WaitingLineOptions extends WaitingLimits {
  readonly addresses: AddressBook;
  readonly edgeRatePerSecond: number;
  readonly addressRatePerSecond: number;
}

export class WaitingLine {
  readonly #options: WaitingLineOptions;
  /** In the order in which they came. */
  readonly #places = new Set<WaitingPlace>();
  /** Before then nobody who waits can have a turn. */
  #nextTurnMs = Infinity;

  constructor(options: WaitingLineOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#places.size;
  }

  /** Whether somebody who came before must have their turn first. */
  isBehind(record: AddressRecord, nowMs: number): boolean {
    return record.waitingHandshakes > 0 || nowMs >= this.#nextTurnMs;
  }

  /** How long those who wait already take, all of them and those of the address. */
  aheadMs(record: AddressRecord): { readonly atEdgeMs: number; readonly atAddressMs: number } {
    const { edgeRatePerSecond, addressRatePerSecond } = this.#options;
    return {
      atEdgeMs: (this.#places.size * 1000) / edgeRatePerSecond,
      atAddressMs: (record.waitingHandshakes * 1000) / addressRatePerSecond,
    };
  }

  /** A place at the end; undefined where there is none, or the wait would be too long. */
  join(record: AddressRecord, edgeBucket: TokenBucket, nowMs: number): WaitingPlace | undefined {
    const { maxWaitingHandshakes, maxWaitMs, addresses } = this.#options;
    const { atEdgeMs, atAddressMs } = this.aheadMs(record);
    if (this.#places.size >= maxWaitingHandshakes) return undefined;
    if (Math.max(atEdgeMs, atAddressMs) >= maxWaitMs) return undefined;
    const place = { record, sinceMs: nowMs };
    this.#places.add(place);
    record.waitingHandshakes += 1;
    addresses.held(record);
    const waitMs = Math.max(edgeBucket.waitMs(nowMs), record.bucket.waitMs(nowMs));
    this.#nextTurnMs = Math.min(this.#nextTurnMs, nowMs + waitMs);
    return place;
  }

  /** Gives the place up, had its turn or not. False: it was given up before. */
  leave(place: WaitingPlace): boolean {
    if (!this.#places.delete(place)) return false;
    place.record.waitingHandshakes -= 1;
    this.#options.addresses.left(place.record);
    if (this.#places.size === 0) this.#nextTurnMs = Infinity;
    return true;
  }

  /** Those who have waited for too long, oldest first. They stay until they `leave`. */
  *tooLate(nowMs: number): Generator<WaitingPlace> {
    for (const place of this.#places) {
      if (nowMs - place.sinceMs < this.#options.maxWaitMs) return;
      yield place;
    }
  }

  /**
   * Those whose turn it is, oldest first, for as long as the caller takes a token from both buckets for
   * each, and lets it `leave`.
   */
  *turns(edgeBucket: TokenBucket, nowMs: number): Generator<WaitingPlace> {
    let nextTurnMs = Infinity;
    for (const place of this.#places) {
      const edgeWaitMs = edgeBucket.waitMs(nowMs);
      if (edgeWaitMs > 0) {
        nextTurnMs = Math.min(nextTurnMs, nowMs + edgeWaitMs);
        break;
      }
      const addressWaitMs = place.record.bucket.waitMs(nowMs);
      if (addressWaitMs > 0) nextTurnMs = Math.min(nextTurnMs, nowMs + addressWaitMs);
      else yield place;
    }
    this.#nextTurnMs = nextTurnMs;
  }

  /** When to look again; undefined: nobody waits. */
  nextLookMs(): number | undefined {
    for (const { sinceMs } of this.#places) {
      return Math.min(this.#nextTurnMs, sinceMs + this.#options.maxWaitMs);
    }
    return undefined;
  }
}
