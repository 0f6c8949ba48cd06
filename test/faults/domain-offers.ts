/**
 * A backend that makes offers to some of the users: most wait for an accept, some end by time soon, some are taken back
 * while they are answered. At the end what is still open is taken back, and how each ended is read.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { CallFailed } from "#test/contract/api-client.js";
import type { DomainGateway } from "./domain-gateway.js";
import type { DomainLedger, OfferWrite } from "./domain-ledger.js";
import type { Random } from "#test/support/random.js";

export interface OfferBackendOptions {
  readonly gateway: DomainGateway;
  readonly ledger: DomainLedger;
  readonly random: Random;
  readonly everyMs?: number;
  readonly deadlineMs?: number;
  /** What comes last has so long. */
  readonly settleMs?: number;
}

const RETRY_MS = 100;
const SETTLE_MS = 500;
const CANDIDATES = 5;
/** gRPC's. */
const INVALID_ARGUMENT = 3;
const LONG_MS = 300_000;
/** Offers of this name are answered when their time is over, or nearly so. */
export const LATE = "late-";
export const SHORT_MS = 1_000;

export class OfferBackend {
  readonly #options: OfferBackendOptions;
  readonly #stopping = new AbortController();
  readonly #working = new Set<Promise<unknown>>();
  #running: Promise<void> = Promise.resolve();
  #made = 0;

  constructor(options: OfferBackendOptions) {
    this.#options = options;
  }

  start(workers: readonly string[]): void {
    this.#running = this.#run(workers);
  }

  /** Makes no more; resolves when each has ended, or it is not known. */
  async finish(): Promise<void> {
    const { gateway, ledger } = this.#options;
    this.#stopping.abort();
    await this.#running;
    await Promise.all(this.#working);
    // Answers are under way still.
    await sleep(this.#options.settleMs ?? SETTLE_MS);
    for (const offer of ledger.offers.values()) {
      if (offer.outcome !== "acknowledged") continue;
      await this.insistently(() => gateway.withdrawOffer(offer.offerId));
      offer.end = await this.insistently(() => gateway.viewOffer(offer.offerId));
    }
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** Until it answers; undefined where it does not in time. */
  async insistently<Result>(ask: () => Promise<Result>): Promise<Result | undefined> {
    const untilMs = performance.now() + (this.#options.deadlineMs ?? 30_000);
    while (performance.now() < untilMs) {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof CallFailed && error.code === INVALID_ARGUMENT) throw error;
        await sleep(RETRY_MS);
      }
    }
    return undefined;
  }

  async #run(workers: readonly string[]): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const work = this.#make(workers).finally(() => this.#working.delete(work));
      this.#working.add(work);
      await sleep(this.#options.everyMs ?? 200, undefined, { signal }).catch(() => undefined);
    }
  }

  async #make(workers: readonly string[]): Promise<void> {
    const { gateway, ledger, random } = this.#options;
    this.#made += 1;
    const candidates = random.shuffle(workers).slice(0, CANDIDATES);
    const choice = random.next();
    const isShort = choice < 0.15;
    const offerId = `${isShort ? LATE : "offer-"}${this.#made}`;
    const offer: OfferWrite = { offerId, candidates, outcome: "unknown", answers: new Map(), end: undefined };
    ledger.offers.set(offerId, offer);
    const timeLimitMs = isShort ? SHORT_MS : LONG_MS;
    const made = await this.insistently(async () => {
      await gateway.createOffer({ offerId, candidates, timeLimitMs });
      return true;
    });
    if (made === undefined) return;
    offer.outcome = "acknowledged";
    if (choice < 0.85) return;
    await sleep(random.integer(0, 200));
    await this.insistently(() => gateway.withdrawOffer(offerId));
  }
}
