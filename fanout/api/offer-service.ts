/**
 * `OfferService`: offers as backend services make, withdraw and look at them. It checks and passes on to the desk;
 * what an offer may become is the machine's business (`fanout/offer/offer-machine.ts`).
 */
import { GatewayError } from "#proto/errors.js";
import { OfferState } from "#proto/gen/realtime/client/v1/event.js";
import {
  CandidateState,
  OfferMode,
  OfferServiceService,
  type CreateOfferRequest,
  type CreateOfferResponse,
  type GetOfferRequest,
  type GetOfferResponse,
  type Offer,
  type WithdrawOfferRequest,
  type WithdrawOfferResponse,
} from "#proto/gen/realtime/api/v1/offers.js";
import type { OfferDesk } from "#fanout/offer/offer-desk.js";
import { dataOf } from "#fanout/offer/offer-events.js";
import { faultOf, type OfferRequest } from "#fanout/offer/offer-request.js";
import {
  candidateState,
  type CandidateState as CandidateStateName,
  type OfferMode as OfferModeName,
  type OfferName,
  type OfferStateName,
  type OfferView,
} from "#fanout/offer/offer.js";
import { apiMethod, type ApiCall, type ApiMethod } from "./api-method.js";
import { FieldCheck } from "./field-check.js";

const MAX_REASON_CHARACTERS = 256;

const STATES: Readonly<Record<OfferStateName, OfferState>> = {
  open: OfferState.OFFER_STATE_OPEN,
  accepted: OfferState.OFFER_STATE_ACCEPTED,
  withdrawn: OfferState.OFFER_STATE_WITHDRAWN,
  expired: OfferState.OFFER_STATE_EXPIRED,
};

const CANDIDATE_STATES: Readonly<Record<CandidateStateName, CandidateState>> = {
  waiting: CandidateState.CANDIDATE_STATE_WAITING,
  asked: CandidateState.CANDIDATE_STATE_ASKED,
  rejected: CandidateState.CANDIDATE_STATE_REJECTED,
  timed_out: CandidateState.CANDIDATE_STATE_TIMED_OUT,
  offline: CandidateState.CANDIDATE_STATE_OFFLINE,
  accepted: CandidateState.CANDIDATE_STATE_ACCEPTED,
};

const MODES: Readonly<Record<OfferModeName, OfferMode>> = {
  all_at_once: OfferMode.OFFER_MODE_ALL_AT_ONCE,
  one_by_one: OfferMode.OFFER_MODE_ONE_BY_ONE,
};

export class OfferService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(OfferServiceService.createOffer, (request, call) => this.#create(request, call)),
    apiMethod(OfferServiceService.withdrawOffer, (request) => this.#withdraw(request)),
    apiMethod(OfferServiceService.getOffer, (request) => this.#get(request)),
  ];
  readonly #desk: OfferDesk;

  constructor(options: { readonly offers: OfferDesk }) {
    this.#desk = options.offers;
  }

  async #create(request: CreateOfferRequest, call: ApiCall): Promise<CreateOfferResponse> {
    const asked = readRequest(request, call);
    const outcome = await this.#desk.create(asked);
    return { offer: await this.#offer(asked), repeated: outcome === "repeated" };
  }

  async #withdraw(request: WithdrawOfferRequest): Promise<WithdrawOfferResponse> {
    const check = new FieldCheck("");
    const name = readName(request, check);
    check.optionalLine("reason", request.reason, MAX_REASON_CHARACTERS);
    await this.#desk.withdraw(name, request.reason);
    return { offer: await this.#offer(name) };
  }

  async #get(request: GetOfferRequest): Promise<GetOfferResponse> {
    return { offer: await this.#offer(readName(request, new FieldCheck(""))) };
  }

  async #offer({ app, offerId }: OfferName): Promise<Offer> {
    const view = await this.#desk.view({ app, offerId });
    if (view === undefined)
      throw new GatewayError("not_found", "there is no such offer", { field: "offer_id" });
    return messageOf(view);
  }
}

function readName(request: { app: string; offerId: string }, check: FieldCheck): OfferName {
  const app = check.app("app", request.app);
  check.identifier("offer_id", request.offerId);
  return { app, offerId: request.offerId };
}

function readRequest(request: CreateOfferRequest, call: ApiCall): OfferRequest {
  const check = new FieldCheck("");
  const { offerId, subjectId, timeLimitMs, candidateTimeLimitMs, data } = request;
  const app = check.app("app", request.app);
  check.data("data", data);
  const asked: OfferRequest = {
    ...{ app, offerId, subjectId, timeLimitMs, candidateTimeLimitMs, data },
    mode: modeOf(request.mode) ?? check.fail("mode", "it must be one that this gateway knows"),
    candidates: request.candidateIds,
    correlationId: call.correlationId,
    traceparent: call.traceparent,
  };
  const fault = faultOf(asked);
  if (fault !== undefined) check.fail(fault.field, `it must be ${fault.rule}`);
  return asked;
}

function modeOf(mode: OfferMode): OfferModeName | undefined {
  switch (mode) {
    case OfferMode.OFFER_MODE_UNSPECIFIED:
    case OfferMode.OFFER_MODE_ALL_AT_ONCE:
      return "all_at_once";
    case OfferMode.OFFER_MODE_ONE_BY_ONE:
      return "one_by_one";
    default:
      return undefined;
  }
}

function messageOf(view: OfferView): Offer {
  const { app, offerId, subjectId, mode, state, candidates, marks, winnerId } = view;
  const { fencingNumber, createdAtMs, expiresAtMs, endedAtMs, reason, template } = view;
  return {
    ...{ app, offerId, subjectId, winnerId, fencingNumber, createdAtMs, expiresAtMs, endedAtMs, reason },
    mode: MODES[mode],
    state: STATES[state],
    candidates: candidates.map((userId, index) => ({
      userId,
      state: CANDIDATE_STATES[candidateState(marks, index)],
    })),
    data: dataOf(template),
  };
}
