/**
 * `offer_accept` and `offer_reject`: a worker's answers to offers that were made to them. A frame that is sent again
 * gets the same answer. How an accept ended is told to all devices of all candidates through their own channels.
 */
import { GatewayError } from "#proto/errors.js";
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import { capabilityOf, isAble } from "#fanout/policy/policy.js";
import type { FrameHandler, ServerBody } from "#fanout/session/frame-handler.js";
import type { Answerer, OfferDesk } from "./offer-desk.js";

const MAX_REASON_CHARACTERS = 256;

export function offerAcceptHandler(desk: Pick<OfferDesk, "accept">): FrameHandler<"offerAccept"> {
  return async ({ session }, { offerId }) => {
    const answerer = answererOf(session.principal);
    const check = new FieldCheck("offer_accept");
    check.identifier("offer_id", offerId);
    const { timeMs } = await check.tellPath(desk.accept(answerer, offerId));
    return replyOf(offerId, timeMs);
  };
}

export function offerRejectHandler(desk: Pick<OfferDesk, "reject">): FrameHandler<"offerReject"> {
  return async ({ session }, { offerId, reason }) => {
    const answerer = answererOf(session.principal);
    const check = new FieldCheck("offer_reject");
    check.identifier("offer_id", offerId);
    check.optionalLine("reason", reason, MAX_REASON_CHARACTERS);
    await check.tellPath(desk.reject(answerer, offerId, reason));
    return replyOf(offerId, 0);
  };
}

function answererOf(principal: Principal): Answerer {
  if (!isAble(capabilityOf(principal.role), "answerOffers")) {
    throw new GatewayError(
      "permission_denied",
      "only workers (porter, driver, delivery_partner) answer offers",
    );
  }
  return principal;
}

function replyOf(id: string, timeMs: number): ServerBody {
  return { $case: "reply", value: { position: undefined, id, timeMs } };
}
