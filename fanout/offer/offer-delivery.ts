/**
 * Tells candidates of an offer's changes, each on their own channel. Whoever delivers begins at the oldest change that
 * is not delivered, and marks as delivered only what it has told to everybody: so nothing is lost with a fanout, and
 * each worker hears of an offer in order on first occurrence; what is told twice is dropped by event id and channel.
 *
 * One by one, a candidate who is not there when their turn comes is passed over here.
 */
import { GatewayError } from "#proto/errors.js";
import { userChannel } from "#fanout/channel/channel.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { Logger } from "#fanout/fanout-logger.js";
import type { OfferCounters } from "./offer-counters.js";
import { OfferState } from "#proto/gen/realtime/client/v1/event.js";
import { tellingEvent, tellingsOf } from "./offer-events.js";
import type { OfferChange, OfferName } from "./offer.js";
import type { Offers, UndeliveredChanges } from "./offers.js";
import type { OnlineUsers } from "./online-users.js";

export interface OfferDeliveryOptions {
  readonly offers: Offers;
  readonly publisher: Pick<Publisher, "publish">;
  readonly online: OnlineUsers;
  readonly counters: OfferCounters;
  readonly logger: Logger;
}

/** Offers that are delivered at once; each has a page of changes in hand. */
const MAX_AT_WORK = 32;
/** Offers that wait for that; beyond it they are left to the sweep. */
const MAX_WAITING = 10_000;
/** How long `stop` waits for what is in hand. */
const STOP_WAIT_MS = 1_000;

interface Job {
  readonly name: OfferName;
  /** Something was changed since it began. */
  isWoken: boolean;
}

export class OfferDelivery {
  readonly #options: OfferDeliveryOptions;
  /** By app and offer: waiting or at work. */
  readonly #jobs = new Map<string, Job>();
  readonly #queue: Job[] = [];
  readonly #atWork = new Set<Promise<void>>();
  #isStopped = false;

  constructor(options: OfferDeliveryOptions) {
    this.#options = options;
  }

  /** Offers whose changes are being delivered here, or wait for it. */
  get waiting(): number {
    return this.#jobs.size;
  }

  /** Delivers what the offer has, soon. What fails is left to the sweep. */
  wake(name: OfferName): void {
    const key = `${name.app}/${name.offerId}`;
    const present = this.#jobs.get(key);
    if (present !== undefined) {
      present.isWoken = true;
      return;
    }
    if (this.#isStopped || this.#queue.length >= MAX_WAITING) {
      this.#options.counters.leftToSweep += 1;
      return;
    }
    const job = { name, isWoken: false };
    this.#jobs.set(key, job);
    this.#queue.push(job);
    this.#pump();
  }

  /** Resolves when nothing is at work or waits; for tests. */
  async settled(): Promise<void> {
    while (this.#atWork.size > 0) await Promise.all(this.#atWork);
  }

  /** Finishes what is in hand, within a bound. What waits is left to the sweeps of others. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { name } of this.#queue.splice(0)) this.#jobs.delete(`${name.app}/${name.offerId}`);
    let timer: NodeJS.Timeout | undefined;
    const expiry = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_WAIT_MS)));
    await Promise.race([this.settled(), expiry]);
    clearTimeout(timer);
  }

  #pump(): void {
    while (this.#atWork.size < MAX_AT_WORK) {
      const job = this.#queue.shift();
      if (job === undefined) return;
      const work = this.#work(job).finally(() => {
        this.#atWork.delete(work);
        this.#jobs.delete(`${job.name.app}/${job.name.offerId}`);
        if (job.isWoken) this.wake(job.name);
        this.#pump();
      });
      this.#atWork.add(work);
    }
  }

  /** Never fails. */
  async #work(job: Job): Promise<void> {
    const { offers, counters, logger } = this.#options;
    try {
      for (;;) {
        job.isWoken = false;
        const page = await offers.undelivered(job.name);
        if (page === undefined || page.changes.length === 0) return;
        for (const change of page.changes) await this.#deliver(job.name, page, change);
        await offers.delivered(
          job.name,
          page.changes.map(({ revision }) => revision),
        );
      }
    } catch (error) {
      job.isWoken = false;
      counters.deliveryFailures += 1;
      const isExpected = error instanceof GatewayError && error.kind === "unavailable";
      if (isExpected) logger.debug({ offerId: job.name.offerId }, "an offer's changes were not delivered");
      else logger.error({ offerId: job.name.offerId, err: error }, "an offer's changes were not delivered");
    }
  }

  async #deliver(name: OfferName, page: UndeliveredChanges, change: OfferChange): Promise<void> {
    const { counters } = this.#options;
    if (change.kind === "asked" && (await this.#isPassedOver(name, change))) return;
    const tellings = tellingsOf(change, page.candidates);
    await Promise.all(tellings.map((telling) => this.#tell(name, page, { change, ...telling })));
    counters.tellings += tellings.length;
    counters.delivered.set(change.kind, (counters.delivered.get(change.kind) ?? 0) + 1);
  }

  /** Whose turn is over by now, or who is not there, need not be asked. */
  async #isPassedOver(name: OfferName, { userId }: OfferChange): Promise<boolean> {
    const { offers, online, counters } = this.#options;
    if (await online.isOnline(name.app, userId)) return false;
    const { outcome } = await offers.apply(name, { type: "pass", userId });
    if (outcome === "done") counters.commands.passed += 1;
    return true;
  }

  async #tell(
    name: OfferName,
    { template, seed }: UndeliveredChanges,
    { userId, state, change }: { userId: string; state: OfferState; change: OfferChange },
  ): Promise<void> {
    const { offers, publisher, counters, logger } = this.#options;
    const { app, offerId } = name;
    const isOpen = state === OfferState.OFFER_STATE_OPEN;
    try {
      // First: what a worker who comes back is told must hold what their channel holds.
      if (isOpen) await offers.noteAsked(app, userId, { offerId, untilMs: change.expiresAtMs });
      const event = tellingEvent(template, { seed, change, state });
      await publisher.publish({ channel: userChannel(app, userId), event });
      // What is over for them shall not take the place of what is not.
      if (!isOpen) await offers.noteAsked(app, userId, { offerId, untilMs: 0 });
    } catch (error) {
      const mayPass = !(error instanceof GatewayError) || error.kind === "unavailable";
      if (mayPass) throw error;
      // Nobody else has to wait for what can never be told.
      counters.deliveryFailures += 1;
      logger.error({ offerId, err: error }, "a change of an offer cannot be told");
    }
  }
}
