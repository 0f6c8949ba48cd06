/**
 * A worker who comes back sees the offers that are still open for them: they are said as `event`s without a position,
 * right behind what their session began with, or behind `subscribed` of their own channel. The event's id is that of
 * the event that asked them, so that who has it already knows it.
 *
 * Nothing that is over is said: the offers are read after the session entered the user's channel, and read again where
 * anything came through it meanwhile.
 */
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { encode } from "#proto/encode.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import { EventFrames } from "#fanout/channel/event-frames.js";
import type { StreamPosition } from "#fanout/channel/broker.js";
import { isAble } from "#fanout/policy/policy.js";
import type { FrameHandler } from "#fanout/session/frame-handler.js";
import type { Session } from "#fanout/session/session.js";
import type { OfferDesk } from "./offer-desk.js";
import { standingEvent } from "./offer-events.js";
import { candidateState } from "./offer.js";
import type { Offers } from "./offers.js";

export interface StandingOffersOptions {
  readonly offers: Pick<Offers, "askedOf">;
  readonly desk: Pick<OfferDesk, "view">;
  /** Told of a read that failed for good. */
  readonly onFailure: () => void;
}

/** In a channel in which something comes with every read, the last one has to do. */
const MAX_READS = 8;
const RETRIES = 3;
const RETRY_AFTER_MS = 500;

export class StandingOffers {
  readonly #options: StandingOffersOptions;

  constructor(options: StandingOffersOptions) {
    this.#options = options;
  }

  /** Says them to a session that has entered its user's channel. Never fails. */
  async tell(session: Session): Promise<void> {
    if (!isAble(session.capability, "answerOffers")) return;
    for (let tries = 0; tries <= RETRIES && !session.isEnded; tries++) {
      try {
        await this.#tell(session);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER_MS).unref());
      }
    }
    if (!session.isEnded) this.#options.onFailure();
  }

  async #tell(session: Session): Promise<void> {
    const { app, userId } = session.principal;
    const own = userChannel(app, userId);
    for (let reads = 1; ; reads++) {
      const before = session.follows.get(own.key)?.position;
      const events = await this.#standing(own);
      const followed = session.follows.get(own.key);
      // Who does not follow their own channel would not hear how it ends.
      if (followed === undefined || session.isEnded) return;
      if (!isSame(before, followed.position) && reads < MAX_READS) continue;
      for (const event of events)
        session.sendEncoded(new EventFrames(encode(Event, event)).in(session.framing));
      return;
    }
  }

  async #standing({ app, id: userId, name }: Channel): Promise<readonly Event[]> {
    const { offers, desk } = this.#options;
    const asked = await offers.askedOf(app, userId);
    const views = await Promise.all(asked.map((offerId) => desk.view({ app, offerId })));
    return views.flatMap((view) => {
      if (view?.state !== "open") return [];
      const index = view.candidates.indexOf(userId);
      if (index === -1 || candidateState(view.marks, index) !== "asked") return [];
      return [{ ...standingEvent(view), channel: name }];
    });
  }
}

/** `subscribe` to one's own channel says them too. */
export function withStandingOffers(
  subscribe: FrameHandler<"subscribe">,
  standing: Pick<StandingOffers, "tell">,
): FrameHandler<"subscribe"> {
  return async (context, body) => {
    const result = await subscribe(context, body);
    const { app, userId } = context.session.principal;
    if (body.channel === userChannel(app, userId).name) void standing.tell(context.session);
    return result;
  };
}

function isSame(left: StreamPosition | undefined, right: StreamPosition | undefined): boolean {
  return left?.epoch === right?.epoch && left?.offset === right?.offset;
}
