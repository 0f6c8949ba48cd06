/**
 * Offers in this process: for the embedded default and for unit tests. The machine of `offer-machine.ts` does what the
 * script does in Redis; changes go to the outbox that this process's brokers share. What has outlived its time is
 * forgotten when it is next touched, or by the look for due offers.
 */
import { encode } from "#proto/encode.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { DEFAULT_OUTBOX_BOUND, outboxFull } from "#fanout/channel/channel-limits.js";
import { MemoryOutboxEntries } from "#fanout/outbox/outbox-memory.js";
import { offerKeys } from "#fanout/redis/keys.js";
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import { outboxEvent, outboxFields } from "./offer-events.js";
import { nextDeadlineMs, stepOffer, type OfferCommand, type OfferRecord } from "./offer-machine.js";
import type { OfferChange, OfferName, OfferView } from "./offer.js";
import {
  DEFAULT_OFFER_RETENTION_MS,
  MAX_ASKED,
  MAX_OPEN_OFFERS,
  dueShare,
  tooManyOffers,
  type DueOffers,
  type OfferAnswer,
  type Offers,
  type UndeliveredChanges,
} from "./offers.js";

interface Kept {
  record: OfferRecord;
  readonly partition: number;
  undelivered: OfferChange[];
  /** Since when the oldest of them waits. */
  sinceMs: number;
  expiresAtMs: number;
}

export interface MemoryOffersOptions {
  /** Default: one that nobody relays. */
  readonly outbox?: MemoryOutboxEntries;
  readonly clock?: StoreClock;
  readonly retentionMs?: number;
  readonly outboxBound?: number;
  /** In each partition. */
  readonly maxOpen?: number;
}

export class MemoryOffers implements Offers {
  readonly retentionMs: number;
  readonly #outbox: MemoryOutboxEntries;
  readonly #clock: StoreClock;
  readonly #outboxBound: number;
  readonly #maxOpen: number;
  readonly #offers = new Map<string, Kept>();
  readonly #fencingNumbers = new Map<string, number>();
  readonly #asked = new Map<string, Map<string, number>>();

  constructor(options: MemoryOffersOptions = {}) {
    this.#outbox = options.outbox ?? new MemoryOutboxEntries();
    this.#clock = options.clock ?? new SystemClock();
    this.retentionMs = options.retentionMs ?? DEFAULT_OFFER_RETENTION_MS;
    this.#outboxBound = options.outboxBound ?? DEFAULT_OUTBOX_BOUND;
    this.#maxOpen = options.maxOpen ?? MAX_OPEN_OFFERS;
  }

  /** How many offers are remembered. */
  get size(): number {
    return this.#offers.size;
  }

  async apply(name: OfferName, command: OfferCommand): Promise<OfferAnswer> {
    const nowMs = this.#nowMs();
    const kept = this.#find(name);
    const { partition, member } = offerKeys(name);
    const { record, changes, outcome } = stepOffer(kept?.record, command, nowMs);
    if (changes.length > 0 && this.#outbox.count(partition.index) >= this.#outboxBound) throw outboxFull();
    if (kept === undefined && record !== undefined && this.#open(partition.index) >= this.#maxOpen)
      throw tooManyOffers();
    if (record === undefined) return UNKNOWN;
    const stored = kept ?? {
      record,
      partition: partition.index,
      undelivered: [],
      sinceMs: 0,
      expiresAtMs: Infinity,
    };
    this.#offers.set(member, stored);
    stored.record = record;
    if (changes.length > 0) this.#changed(stored, changes, nowMs);
    const { state, endedAtMs, fencingNumber, offer } = record;
    return {
      outcome,
      state,
      subjectId: offer.subjectId,
      fencingNumber,
      endedAtMs,
      changes: changes.length,
      undeliveredForMs: stored.undelivered.length > 0 ? nowMs - stored.sinceMs : undefined,
    };
  }

  async view(name: OfferName): Promise<OfferView | undefined> {
    const record = this.#find(name)?.record;
    if (record === undefined) return undefined;
    const { offer, deadlineMs, turnEndsAtMs } = record;
    const { app, offerId, subjectId, mode, candidates, template, seed } = offer;
    const {
      state,
      marks,
      winnerId,
      fencingNumber,
      reason,
      createdAtMs,
      endedAtMs,
      askedAtMs,
      askedRevision,
    } = record;
    return {
      ...{ app, offerId, subjectId, mode, candidates, template, seed },
      ...{ state, marks, winnerId, fencingNumber, reason, createdAtMs, endedAtMs, askedAtMs, askedRevision },
      expiresAtMs: deadlineMs,
      answerUntilMs: turnEndsAtMs > 0 ? turnEndsAtMs : deadlineMs,
    };
  }

  async undelivered(name: OfferName): Promise<UndeliveredChanges | undefined> {
    const kept = this.#find(name);
    if (kept === undefined) return undefined;
    const { template, seed, candidates } = kept.record.offer;
    return { template, seed, candidates, changes: [...kept.undelivered] };
  }

  async delivered(name: OfferName, revisions: readonly number[]): Promise<void> {
    const kept = this.#find(name);
    if (kept === undefined) return;
    const nowMs = this.#nowMs();
    kept.undelivered = kept.undelivered.filter(({ revision }) => !revisions.includes(revision));
    kept.sinceMs = nowMs;
    if (kept.undelivered.length === 0 && kept.record.state !== "open")
      kept.expiresAtMs = Math.max(nowMs, kept.record.deadlineMs) + this.retentionMs;
  }

  async due(partitions: readonly number[], undeliveredForMs: number): Promise<DueOffers> {
    const nowMs = this.#nowMs();
    const wanted = new Set(partitions);
    const share = dueShare(partitions.length);
    const found = { overdue: new Map<number, number>(), undelivered: new Map<number, number>() };
    const overdue: OfferName[] = [];
    const undelivered: OfferName[] = [];
    let open = 0;
    const take = (counts: Map<number, number>, partition: number): boolean => {
      const count = counts.get(partition) ?? 0;
      counts.set(partition, count + 1);
      return count < share;
    };
    for (const [member, { record, partition, undelivered: waiting, sinceMs, expiresAtMs }] of this.#offers) {
      if (expiresAtMs <= nowMs) {
        this.#offers.delete(member);
        continue;
      }
      if (!wanted.has(partition)) continue;
      if (record.state === "open") open += 1;
      const { app, offerId } = record.offer;
      const isOverdue = nextDeadlineMs(record) <= nowMs;
      if (isOverdue && take(found.overdue, partition)) overdue.push({ app, offerId });
      const isLate = waiting.length > 0 && nowMs - sinceMs >= undeliveredForMs;
      if (isLate && take(found.undelivered, partition)) undelivered.push({ app, offerId });
    }
    return { overdue, undelivered, open };
  }

  async nextFencingNumber(app: string, subjectId: string): Promise<number> {
    const key = `${app}/${subjectId}`;
    const number = Math.max(this.#clock.nowUs(), (this.#fencingNumbers.get(key) ?? 0) + 1);
    this.#fencingNumbers.delete(key);
    this.#fencingNumbers.set(key, number);
    // What is forgotten lies in the past, as all numbers of the clock do.
    if (this.#fencingNumbers.size > MAX_OPEN_OFFERS) deleteFirst(this.#fencingNumbers);
    return number;
  }

  async noteAsked(app: string, userId: string, asked: { offerId: string; untilMs: number }): Promise<void> {
    const key = JSON.stringify([app, userId]);
    const nowMs = this.#nowMs();
    const noted = [...(this.#asked.get(key) ?? [])].filter(([, untilMs]) => untilMs > nowMs);
    const byEnd = new Map([...noted, [asked.offerId, asked.untilMs] as const]);
    const sorted = [...byEnd]
      .filter(([, untilMs]) => untilMs > nowMs)
      .sort(([, left], [, right]) => left - right);
    this.#asked.delete(key);
    this.#asked.set(key, new Map(sorted.slice(-MAX_ASKED)));
    if (this.#asked.size > MAX_OPEN_OFFERS) deleteFirst(this.#asked);
  }

  async askedOf(app: string, userId: string): Promise<readonly string[]> {
    const nowMs = this.#nowMs();
    const asked = this.#asked.get(JSON.stringify([app, userId])) ?? [];
    return [...asked].filter(([, untilMs]) => untilMs > nowMs).map(([offerId]) => offerId);
  }

  #changed(stored: Kept, changes: readonly OfferChange[], nowMs: number): void {
    const { offer } = stored.record;
    if (stored.undelivered.length === 0) stored.sinceMs = nowMs;
    for (const change of changes) {
      stored.undelivered.push(change);
      const fields = outboxFields(offer, change.revision);
      const payload = encode(Event, outboxEvent(offer.template, fields.eventId, change));
      this.#outbox.add(stored.partition, { ...fields, timeMs: nowMs, payload });
    }
  }

  #open(partition: number): number {
    let open = 0;
    for (const kept of this.#offers.values())
      if (kept.partition === partition && kept.record.state === "open") open += 1;
    return open;
  }

  #find(name: OfferName): Kept | undefined {
    const { member } = offerKeys(name);
    const kept = this.#offers.get(member);
    if (kept === undefined || kept.expiresAtMs > this.#nowMs()) return kept;
    this.#offers.delete(member);
    return undefined;
  }

  #nowMs(): number {
    return Math.floor(this.#clock.nowUs() / 1000);
  }
}

const UNKNOWN: OfferAnswer = {
  outcome: "unknown",
  state: undefined,
  subjectId: "",
  fencingNumber: 0,
  endedAtMs: 0,
  changes: 0,
  undeliveredForMs: undefined,
};

function deleteFirst(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
