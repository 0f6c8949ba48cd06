/**
 * The one place where client frames are limited: before a frame is dealt with, whatever it asks for. Synchronous
 * wherever a lease is in hand. What a refused frame asked for has no effect.
 */
import { ERROR_KINDS, GatewayError } from "#proto/errors.js";
import type { UpFrame } from "#proto/gen/realtime/link/v1/link.js";
import { fieldOf, type ClientBodyType } from "#fanout/session/frame-handler.js";
import type { Session } from "#fanout/session/session.js";
import { countOne, type FanoutCounters } from "../fanout-counters.js";
import { classOf } from "./rate-limits.js";

const FLOOD_REASON = "the app goes on sending what is rate_limited";

export class FrameGate {
  constructor(private readonly options: { readonly counters: FanoutCounters }) {}

  /** 0: go on. Otherwise the frame is to be refused, and may come again after so many milliseconds. */
  admit(session: Session, up: UpFrame, body: ClientBodyType | undefined): number | Promise<number> {
    return isOfEarlierHome(session, up) ? 0 : session.allowance.take(classOf(body));
  }

  /** What the app is told; counted here. */
  refusal(body: ClientBodyType | undefined, waitMs: number): GatewayError {
    const frameClass = classOf(body);
    countOne(this.options.counters.rateLimited, frameClass);
    return new GatewayError("rate_limited", `too many frames of the class ${frameClass}; wait as told`, {
      retryAfterMs: waitMs,
      ...(body !== undefined && { field: fieldOf(body) }),
    });
  }

  /** The refusal was told. Ends a socket that does not heed it. */
  refused(session: Session): void {
    if (!session.allowance.refused()) return;
    this.options.counters.floodsClosed += 1;
    session.close(ERROR_KINDS.rate_limited.closeCode, FLOOD_REASON);
  }
}

/**
 * Frames that an edge read before the session came here were charged where they were dealt with, if they were:
 * refusing one of them could deny an effect that it had. There are at most 32, and no app can move its session.
 */
function isOfEarlierHome({ open, resumable }: Session, { receivedAtUs }: UpFrame): boolean {
  return open.state.length > 0 && receivedAtUs <= resumable.homeStampUs;
}
