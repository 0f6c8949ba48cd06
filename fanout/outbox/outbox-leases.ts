/**
 * Which of the leases this relay has. One more is taken with each tick until none is free, so that relays that
 * start together share them. A lease counts from the moment before it was asked for and by this process's own
 * clock, so that a process that was frozen knows at once that it may have lost it; then it has it no more until
 * the store says that it has.
 */
import type { Logger } from "#fanout/fanout-logger.js";
import { LEASE_COUNT, LEASED_PARTITIONS, leaseOf, type Outbox } from "./outbox.js";

export const LEASE_MS = 10_000;
export const RENEW_MS = 3_000;
/** Until it is looked again whether a lease is free, where none was. */
export const SEARCH_MS = 2_000;

export interface OutboxLeasesOptions {
  readonly outbox: Pick<Outbox, "take" | "renew" | "release">;
  /** Unlike any other's, also of an earlier process of the same name. */
  readonly holder: string;
  readonly logger: Logger;
  /** Milliseconds that only grow. */
  readonly nowMs: () => number;
  /** 0 up to 1. */
  readonly random?: () => number;
}

interface Held {
  readonly validUntilMs: number;
  readonly renewAtMs: number;
}

export class OutboxLeases {
  readonly #options: OutboxLeasesOptions;
  readonly #held = new Map<number, Held>();
  /** Relays begin at different ones. */
  readonly #first: number;
  #searchAtMs = 0;

  constructor(options: OutboxLeasesOptions) {
    this.#options = options;
    this.#first = Math.floor((options.random ?? Math.random)() * LEASE_COUNT);
  }

  /** How many it has. */
  get count(): number {
    const nowMs = this.#options.nowMs();
    return [...this.#held.values()].filter(({ validUntilMs }) => validUntilMs > nowMs).length;
  }

  holds(partition: number): boolean {
    return (this.#held.get(leaseOf(partition))?.validUntilMs ?? -Infinity) > this.#options.nowMs();
  }

  /** The partitions that it may relay. */
  partitions(): readonly number[] {
    return LEASED_PARTITIONS.flat().filter((partition) => this.holds(partition));
  }

  /** Renews what is due and takes one more where one is free. Never fails. */
  async tick(): Promise<void> {
    const nowMs = this.#options.nowMs();
    const due = [...this.#held].filter(([, { renewAtMs }]) => renewAtMs <= nowMs);
    await Promise.all(due.map(([lease]) => this.#renew(lease)));
    if (this.#held.size < LEASE_COUNT && this.#options.nowMs() >= this.#searchAtMs) await this.#takeOne();
  }

  /** Gives all up at once, so that others need not wait until they expire. Never fails. */
  async giveUp(): Promise<void> {
    const leases = [...this.#held.keys()];
    this.#held.clear();
    const { outbox, holder } = this.#options;
    // One that could not be released expires.
    await Promise.allSettled(leases.map((lease) => outbox.release(lease, holder)));
  }

  async #renew(lease: number): Promise<void> {
    const { outbox, holder, logger, nowMs } = this.#options;
    const askedAtMs = nowMs();
    try {
      if (await outbox.renew(lease, holder, LEASE_MS)) {
        this.#hold(lease, askedAtMs);
        return;
      }
      this.#held.delete(lease);
      logger.warn({ lease }, "outbox: a lease was lost");
    } catch {
      // Asked again with the next tick. Meanwhile it is valid for as long as it was.
    }
  }

  async #takeOne(): Promise<void> {
    const { outbox, holder, logger, nowMs } = this.#options;
    this.#searchAtMs = nowMs() + SEARCH_MS;
    for (let step = 0; step < LEASE_COUNT; step++) {
      const lease = (this.#first + step) % LEASE_COUNT;
      if (this.#held.has(lease)) continue;
      const askedAtMs = nowMs();
      try {
        if (!(await outbox.take(lease, holder, LEASE_MS))) continue;
      } catch {
        return; // The store is away.
      }
      this.#hold(lease, askedAtMs);
      this.#searchAtMs = 0;
      logger.debug({ lease }, "outbox: took a lease");
      return;
    }
  }

  #hold(lease: number, askedAtMs: number): void {
    this.#held.set(lease, { validUntilMs: askedAtMs + LEASE_MS, renewAtMs: askedAtMs + RENEW_MS });
  }
}
