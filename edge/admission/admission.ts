/**
 * Whether a handshake may go on: from an allowed origin, within what this edge can hold and verify, and
 * within the share of its address. Cheap and before any token is looked at; nothing is taken for a
 * handshake that is refused. Who is admitted holds a slot from here until the socket is gone; who comes
 * faster than the rates waits in line, so that a storm of handshakes is taken in order.
 *
 * Time is passed in and there are no timers. Refusals say when to come back, spread out, so that those
 * who were refused together do not come back together.
 */
import { AddressBook, type AddressRecord, type Occupancy } from "./address-book.js";
import { ConnectionSlot } from "./connection-slot.js";
import type { OriginList } from "./origin.js";
import { TokenBucket } from "./token-bucket.js";
import { WaitingLine, type WaitingLimits, type WaitingPlace } from "./waiting-line.js";

export interface AdmissionLimits extends WaitingLimits {
  /** Sockets at this edge, those in their handshake included. */
  readonly maxConnections: number;
  /** Sockets that are not yet authenticated. */
  readonly maxPendingHandshakes: number;
  readonly handshakesPerSecond: number;
  readonly handshakeBurst: number;
  /** High, because mobile carriers and offices put thousands behind one address. */
  readonly connectionsPerAddress: number;
  readonly pendingHandshakesPerAddress: number;
  readonly handshakesPerSecondPerAddress: number;
  readonly handshakeBurstPerAddress: number;
  /** Addresses without a socket that are remembered for their rate. */
  readonly maxIdleAddresses: number;
  /** A refused client is told to wait so long at least. */
  readonly minRetryMs: number;
  /** And up to so much longer, at random. */
  readonly retrySpreadMs: number;
}

export const DEFAULT_ADMISSION_LIMITS: AdmissionLimits = {
  maxConnections: 20_000,
  maxPendingHandshakes: 4000,
  handshakesPerSecond: 500,
  handshakeBurst: 1000,
  connectionsPerAddress: 5000,
  pendingHandshakesPerAddress: 1000,
  handshakesPerSecondPerAddress: 200,
  handshakeBurstPerAddress: 400,
  maxWaitingHandshakes: 4000,
  maxWaitMs: 10_000,
  maxIdleAddresses: 20_000,
  minRetryMs: 1000,
  retrySpreadMs: 4000,
};

/** Why a handshake was refused, with the HTTP status of the answer: 503 where others are the cause. */
const STATUS_BY_REASON = {
  origin: 403,
  connections: 503,
  pending_handshakes: 503,
  handshake_rate: 503,
  address_connections: 429,
  address_pending_handshakes: 429,
  address_handshake_rate: 429,
} as const;

export type RefusalReason = keyof typeof STATUS_BY_REASON;

export interface AdmissionInput {
  /** From `clientAddress`. */
  readonly address: string;
  /** The request's `Origin`; `undefined` where it has none. */
  readonly origin: string | undefined;
  readonly nowMs: number;
}

export interface Refusal {
  readonly admitted: false;
  readonly reason: RefusalReason;
  readonly status: 403 | 429 | 503;
  /** 0 where coming back does not help. */
  readonly retryAfterMs: number;
}

interface Admitted {
  readonly admitted: true;
  readonly slot: ConnectionSlot;
}

/** Not yet: its turn comes, until the place is given up. */
interface Waits {
  readonly admitted: false;
  readonly place: WaitingPlace;
}

export type AdmissionDecision = Admitted | Waits | Refusal;

/** The end of a wait. */
export interface Turn {
  readonly place: WaitingPlace;
  readonly decision: Admitted | Refusal;
}

export interface AdmissionOptions {
  readonly origins: OriginList;
  readonly limits?: Partial<AdmissionLimits>;
  /** 0 up to 1, as `Math.random`. */
  readonly random?: () => number;
}

export class Admission {
  /** Handshakes refused since the start. */
  readonly refusals: Record<RefusalReason, number> = {
    origin: 0,
    connections: 0,
    pending_handshakes: 0,
    handshake_rate: 0,
    address_connections: 0,
    address_pending_handshakes: 0,
    address_handshake_rate: 0,
  };

  readonly #origins: OriginList;
  readonly #limits: AdmissionLimits;
  readonly #random: () => number;
  readonly #addresses: AddressBook;
  readonly #line: WaitingLine;
  readonly #occupancy: Occupancy = { connections: 0, pendingHandshakes: 0 };
  #bucket: TokenBucket | undefined;

  constructor({ origins, limits, random = Math.random }: AdmissionOptions) {
    this.#origins = origins;
    this.#limits = { ...DEFAULT_ADMISSION_LIMITS, ...limits };
    this.#random = random;
    const { handshakesPerSecondPerAddress, handshakeBurstPerAddress, maxIdleAddresses } = this.#limits;
    const rate = { ratePerSecond: handshakesPerSecondPerAddress, burst: handshakeBurstPerAddress };
    this.#addresses = new AddressBook({ rate, maxIdleAddresses });
    this.#line = new WaitingLine({
      ...this.#limits,
      addresses: this.#addresses,
      edgeRatePerSecond: this.#limits.handshakesPerSecond,
      addressRatePerSecond: handshakesPerSecondPerAddress,
    });
  }

  /** What is held at this edge now. */
  get occupancy(): Readonly<Occupancy> {
    return this.#occupancy;
  }

  /** The client addresses remembered. */
  get addresses(): number {
    return this.#addresses.size;
  }

  /** Handshakes that wait for their turn. */
  get waiting(): number {
    return this.#line.size;
  }

  admit({ address, origin, nowMs }: AdmissionInput): AdmissionDecision {
    if (!this.#origins.allows(origin)) return this.#refuse("origin");
    const edgeBucket = this.#edgeBucket(nowMs);
    const record = this.#addresses.find(address, nowMs);
    const full = this.#fullLimit(record);
    if (full !== undefined) return this.#refuse(full);
    const hasRate = record.bucket.waitMs(nowMs) === 0 && edgeBucket.waitMs(nowMs) === 0;
    if (hasRate && !this.#line.isBehind(record, nowMs)) return this.#take(record, nowMs);
    const place = this.#line.join(record, edgeBucket, nowMs);
    return place === undefined ? this.#refuseForRate(record, nowMs) : { admitted: false, place };
  }

  /** Lets those in whose turn it is, and refuses those who waited for too long. Their places are given up. */
  turns(nowMs: number): readonly Turn[] {
    const turns: Turn[] = [];
    for (const place of this.#line.turns(this.#edgeBucket(nowMs), nowMs)) {
      const full = this.#fullLimit(place.record);
      const decision = full === undefined ? this.#take(place.record, nowMs) : this.#refuse(full);
      this.#line.leave(place);
      turns.push({ place, decision });
    }
    for (const place of this.#line.tooLate(nowMs)) {
      this.#line.leave(place);
      turns.push({ place, decision: this.#refuseForRate(place.record, nowMs) });
    }
    return turns;
  }

  /** When `turns` has something to do; undefined: nobody waits. */
  get nextTurnMs(): number | undefined {
    return this.#line.nextLookMs();
  }

  /** The socket that waited is gone, or shall wait no more. */
  giveUp(place: WaitingPlace): void {
    this.#line.leave(place);
  }

  #take(record: AddressRecord, nowMs: number): Admitted {
    this.#edgeBucket(nowMs).tryTake(nowMs);
    record.bucket.tryTake(nowMs);
    return { admitted: true, slot: new ConnectionSlot(this.#occupancy, record, this.#addresses) };
  }

  /** Those who wait come first: who is refused comes back after them. */
  #refuseForRate(record: AddressRecord, nowMs: number): Refusal {
    const { atEdgeMs, atAddressMs } = this.#line.aheadMs(record);
    const addressWaitMs = record.bucket.waitMs(nowMs);
    if (addressWaitMs > 0)
      return this.#refuse("address_handshake_rate", Math.max(addressWaitMs, atAddressMs));
    return this.#refuse("handshake_rate", Math.max(this.#edgeBucket(nowMs).waitMs(nowMs), atEdgeMs));
  }

  #fullLimit(record: AddressRecord): RefusalReason | undefined {
    const limits = this.#limits;
    const { connections, pendingHandshakes } = this.#occupancy;
    if (connections + pendingHandshakes >= limits.maxConnections) return "connections";
    if (pendingHandshakes >= limits.maxPendingHandshakes) return "pending_handshakes";
    if (record.connections + record.pendingHandshakes >= limits.connectionsPerAddress) {
      return "address_connections";
    }
    if (record.pendingHandshakes >= limits.pendingHandshakesPerAddress) return "address_pending_handshakes";
    return undefined;
  }

  #refuse(reason: RefusalReason, waitMs = 0): Refusal {
    this.refusals[reason] += 1;
    const { minRetryMs, retrySpreadMs } = this.#limits;
    const spreadMs = Math.floor(this.#random() * retrySpreadMs);
    const retryAfterMs = reason === "origin" ? 0 : Math.max(minRetryMs, Math.ceil(waitMs)) + spreadMs;
    return { admitted: false, reason, status: STATUS_BY_REASON[reason], retryAfterMs };
  }

  /** Made with the first handshake: only then is there a time to start it at. */
  #edgeBucket(nowMs: number): TokenBucket {
    const { handshakesPerSecond, handshakeBurst } = this.#limits;
    this.#bucket ??= new TokenBucket({ ratePerSecond: handshakesPerSecond, burst: handshakeBurst }, nowMs);
    return this.#bucket;
  }
}
