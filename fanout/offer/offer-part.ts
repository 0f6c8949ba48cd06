/** Puts the parts of offers together, on the store that it is given: what the fanout has of them. */
import type { Publisher } from "#fanout/channel/publisher.js";
import type { Logger } from "#fanout/fanout-logger.js";
import type { FrameHandlers } from "#fanout/session/frame-handler.js";
import type { StoreClock } from "#fanout/store-clock.js";
import { offerAcceptHandler, offerRejectHandler } from "./offer-answers.js";
import { OfferCounters } from "./offer-counters.js";
import { OfferDelivery } from "./offer-delivery.js";
import { OfferDesk } from "./offer-desk.js";
import { OfferSweep } from "./offer-sweep.js";
import type { Offers } from "./offers.js";
import type { OnlineUsers } from "./online-users.js";
import { StandingOffers } from "./standing-offers.js";

export interface OfferPartOptions {
  readonly offers: Offers;
  readonly publisher: Publisher;
  readonly online: OnlineUsers;
  readonly clock: StoreClock;
  readonly logger: Logger;
  /** Told of reads for workers who came back that failed. */
  readonly onFailure: () => void;
  /** The partitions that are swept here: none where this fanout does not relay. */
  readonly partitions: () => readonly number[];
}

export class OfferPart {
  readonly counters = new OfferCounters();
  readonly desk: OfferDesk;
  readonly standing: StandingOffers;
  readonly handlers: Pick<FrameHandlers, "offerAccept" | "offerReject">;
  readonly #delivery: OfferDelivery;
  readonly #sweep: OfferSweep;

  constructor(options: OfferPartOptions) {
    const { offers, onFailure } = options;
    const { counters } = this;
    const delivery = new OfferDelivery({ ...options, counters });
    this.#delivery = delivery;
    this.#sweep = new OfferSweep({ ...options, delivery, counters });
    this.desk = new OfferDesk({ ...options, delivery, counters });
    this.standing = new StandingOffers({ offers, desk: this.desk, onFailure });
    this.handlers = {
      offerAccept: offerAcceptHandler(this.desk),
      offerReject: offerRejectHandler(this.desk),
    };
  }

  /** Offers whose changes are being delivered here, or wait for it. */
  get undelivered(): number {
    return this.#delivery.waiting;
  }

  /** Offers that are open in the partitions that are swept here. */
  get open(): number {
    return this.#sweep.open;
  }

  start(): void {
    this.#sweep.start();
  }

  async stop(): Promise<void> {
    this.#sweep.stop();
    await this.#delivery.stop();
  }
}
