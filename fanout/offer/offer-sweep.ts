/**
 * Lets time pass for offers, also for those that nobody asks about: ends what is over, gives the turn to the next
 * candidate, and delivers what a fanout that is gone has left. It looks after the partitions whose leases the outbox
 * relay of this process has, so that each is swept by one; two who sweep the same do no harm.
 */
import type { Logger } from "#fanout/fanout-logger.js";
import type { OfferCounters } from "./offer-counters.js";
import type { OfferDelivery } from "./offer-delivery.js";
import type { OfferName } from "./offer.js";
import type { Offers } from "./offers.js";

export interface OfferSweepOptions {
  readonly offers: Offers;
  readonly delivery: Pick<OfferDelivery, "wake">;
  readonly counters: OfferCounters;
  readonly logger: Logger;
  /** Those whose leases are held here. */
  readonly partitions: () => readonly number[];
}

/** So much later than its deadline an offer's end is told, at most; accepts are refused at once. */
const TICK_MS = 500;
/** Whoever made a change delivers it within milliseconds. */
const UNDELIVERED_FOR_MS = 1_000;

export class OfferSweep {
  readonly #options: OfferSweepOptions;
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> | undefined;
  #open = 0;

  constructor(options: OfferSweepOptions) {
    this.#options = options;
  }

  /** Offers that are open in the partitions that are swept here, as of the last look. */
  get open(): number {
    return this.#open;
  }

  start(): void {
    this.#timer = setInterval(() => void this.tick(), TICK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks once. One at a time: called again meanwhile it is the same one. Never fails. */
  tick(): Promise<void> {
    this.#ticking ??= this.#tick().finally(() => (this.#ticking = undefined));
    return this.#ticking;
  }

  async #tick(): Promise<void> {
    const { offers, delivery, counters, logger, partitions } = this.#options;
    const held = partitions();
    if (held.length === 0) {
      this.#open = 0;
      return;
    }
    try {
      const { overdue, undelivered, open } = await offers.due(held, UNDELIVERED_FOR_MS);
      this.#open = open;
      for (const name of undelivered) {
        counters.late += 1;
        delivery.wake(name);
      }
      await Promise.all(overdue.map((name) => this.#look(name)));
    } catch (error) {
      // The store is away: the next tick looks again.
      logger.debug({ err: error }, "offers were not swept");
    }
  }

  async #look(name: OfferName): Promise<void> {
    const { offers, delivery } = this.#options;
    const { changes } = await offers.apply(name, { type: "look" });
    if (changes > 0) delivery.wake(name);
  }
}
