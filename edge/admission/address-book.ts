/**
 * What is remembered of each client address: its connections, its handshakes under way, and how fast they
 * came. Addresses that hold something are kept (their number is bounded by the edge's connections); those
 * that hold nothing and have nobody waiting are kept until their bucket is full again, in a bounded map that forgets the least
 * recently used first. No timers: a few are forgotten whenever one is used.
 */
import { TokenBucket, fillTimeMs, type TokenBucketRate } from "./token-bucket.js";

/** What is held somewhere. */
export interface Occupancy {
  /** Sockets opened and not yet closed. */
  connections: number;
  /** Sockets admitted and neither opened nor closed. */
  pendingHandshakes: number;
}

export interface AddressRecord extends Occupancy {
  readonly address: string;
  /** Handshakes that wait for their turn; they hold nothing yet. */
  waitingHandshakes: number;
  readonly bucket: TokenBucket;
}

interface IdleAddress {
  readonly record: AddressRecord;
  readonly forgetAtMs: number;
}

export interface AddressBookOptions {
  readonly rate: TokenBucketRate;
  readonly maxIdleAddresses: number;
}

/** More than one, so that the map shrinks while addresses come. */
const FORGOTTEN_PER_USE = 4;

export class AddressBook {
  readonly #options: AddressBookOptions;
  readonly #fillTimeMs: number;
  readonly #active = new Map<string, AddressRecord>();
  /** In the order in which they became idle, which is the order in which they may be forgotten. */
  readonly #idle = new Map<string, IdleAddress>();
  #latestMs = 0;

  constructor(options: AddressBookOptions) {
    this.#options = options;
    this.#fillTimeMs = fillTimeMs(options.rate);
  }

  /** The addresses remembered. */
  get size(): number {
    return this.#active.size + this.#idle.size;
  }

  /** The record of an address; for one not remembered a new one, which nothing keeps until it is `held`. */
  find(address: string, nowMs: number): AddressRecord {
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    this.#forgetFilled();
    return (
      this.#active.get(address) ??
      this.#idle.get(address)?.record ?? {
        address,
        bucket: new TokenBucket(this.#options.rate, nowMs),
        connections: 0,
        pendingHandshakes: 0,
        waitingHandshakes: 0,
      }
    );
  }

  /** Keeps the record, which holds something now, until it is `left`. */
  held(record: AddressRecord): void {
    this.#idle.delete(record.address);
    this.#active.set(record.address, record);
  }

  /** Lets the record go idle if it holds nothing any more. */
  left(record: AddressRecord): void {
    if (record.connections + record.pendingHandshakes + record.waitingHandshakes > 0) return;
    this.#active.delete(record.address);
    // Buckets were last taken from at `latestMs` or before: by then they are full.
    this.#idle.set(record.address, { record, forgetAtMs: this.#latestMs + this.#fillTimeMs });
    if (this.#idle.size > this.#options.maxIdleAddresses) this.#forgetOldest();
  }

  #forgetFilled(): void {
    let budget = FORGOTTEN_PER_USE;
    for (const [address, { forgetAtMs }] of this.#idle) {
      if (forgetAtMs > this.#latestMs || budget === 0) return;
      this.#idle.delete(address);
      budget -= 1;
    }
  }

  #forgetOldest(): void {
    for (const address of this.#idle.keys()) {
      this.#idle.delete(address);
      return;
    }
  }
}
