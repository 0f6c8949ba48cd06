/**
 * Where offers are made, answered and withdrawn: every command of backends and workers goes through here to the store,
 * and what it changed is delivered right after. What is answered is the store's word; delivering never holds it up.
 */
import { GatewayError } from "#proto/errors.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { OfferCounters } from "./offer-counters.js";
import type { OfferDelivery } from "./offer-delivery.js";
import type { OfferCommand } from "./offer-machine.js";
import { newOffer, type OfferRequest } from "./offer-request.js";
import type { OfferName, OfferView } from "./offer.js";
import type { OfferAnswer, Offers } from "./offers.js";

export interface OfferDeskOptions {
  readonly offers: Offers;
  readonly delivery: Pick<OfferDelivery, "wake">;
  readonly clock: StoreClock;
  readonly counters: OfferCounters;
}

/** A worker who answers. */
export interface Answerer {
  readonly app: string;
  readonly userId: string;
  readonly role: string;
}

export interface Accepted {
  readonly timeMs: number;
  readonly fencingNumber: number;
}

/** Somebody else may deliver these: only what waits for longer is taken on. */
const DELIVERED_BY_OTHERS_MS = 500;

export class OfferDesk {
  readonly counters: OfferCounters;
  readonly #options: OfferDeskOptions;

  constructor(options: OfferDeskOptions) {
    this.#options = options;
    this.counters = options.counters;
  }

  /**
   * Makes an offer, once for its id. `over`: its time was over so long ago that it would be forgotten by now; it is
   * not made, and nobody is told of it.
   * @throws GatewayError conflict where another offer has the id; unavailable.
   */
  async create(request: OfferRequest): Promise<"created" | "repeated" | "over"> {
    const { clock, offers } = this.#options;
    const { app, offerId, expiresAtMs = Infinity } = request;
    if (expiresAtMs + offers.retentionMs <= clock.nowUs() / 1000) return "over";
    const { outcome } = await this.#apply({ app, offerId }, { type: "create", offer: newOffer(request) });
    if (outcome === "done") {
      this.counters.commands.created += 1;
      return "created";
    }
    if (outcome === "repeated") return "repeated";
    throw new GatewayError("conflict", "another offer has this id", { field: "offer_id" });
  }

  /**
   * The winner gets the same answer each time.
   * @throws GatewayError not_found, conflict (somebody else has it, or it was withdrawn), expired, unavailable.
   */
  async accept({ app, userId, role }: Answerer, offerId: string): Promise<Accepted> {
    const name = { app, offerId };
    const accept = { type: "accept", userId, role } as const;
    let answer = await this.#apply(name, accept);
    if (answer.outcome === "draw") {
      const fencingNumber = await this.#options.offers.nextFencingNumber(app, answer.subjectId);
      answer = await this.#apply(name, { ...accept, fencingNumber });
    }
    if (answer.outcome === "done") this.counters.commands.accepted += 1;
    else if (answer.outcome !== "repeated") throw this.#refused(answer);
    return { timeMs: answer.endedAtMs, fencingNumber: answer.fencingNumber };
  }

  /** @throws as `accept` does. */
  async reject({ app, userId, role }: Answerer, offerId: string, reason: string): Promise<void> {
    const answer = await this.#apply({ app, offerId }, { type: "reject", userId, role, reason });
    if (answer.outcome === "done") this.counters.commands.rejected += 1;
    else if (answer.outcome !== "repeated") throw this.#refused(answer);
  }

  /**
   * Takes an offer back. One that has expired needs no more.
   * @throws GatewayError not_found; conflict where somebody has it; unavailable.
   */
  async withdraw(name: OfferName, reason: string): Promise<void> {
    const answer = await this.#apply(name, { type: "withdraw", reason });
    if (answer.outcome === "done") this.counters.commands.withdrawn += 1;
    else if (answer.outcome === "unknown" || answer.state === "accepted") throw this.#refused(answer);
  }

  /** Where it stands; undefined where there is no such offer. */
  async view(name: OfferName): Promise<OfferView | undefined> {
    const { outcome } = await this.#apply(name, { type: "look" });
    return outcome === "unknown" ? undefined : this.#options.offers.view(name);
  }

  async #apply(name: OfferName, command: OfferCommand): Promise<OfferAnswer> {
    const { offers, delivery } = this.#options;
    const answer = await offers.apply(name, command);
    const { changes, undeliveredForMs = 0 } = answer;
    if (changes > 0 || undeliveredForMs > DELIVERED_BY_OTHERS_MS) delivery.wake(name);
    return answer;
  }

  #refused({ outcome, state }: OfferAnswer): GatewayError {
    this.counters.commands.refused += 1;
    switch (outcome) {
      case "rejected":
        return new GatewayError("conflict", "the offer is rejected by you");
      case "passed":
        return new GatewayError("expired", "the offer is expired: your time for it is over");
      case "over":
        return overError(state);
      default:
        return new GatewayError("not_found", "there is no such offer, or not for you", { field: "offer_id" });
    }
  }
}

function overError(state: OfferAnswer["state"]): GatewayError {
  switch (state) {
    case "accepted":
      return new GatewayError("conflict", "the offer is taken");
    case "withdrawn":
      return new GatewayError("conflict", "the offer is withdrawn");
    default:
      return new GatewayError("expired", "the offer is expired");
  }
}
