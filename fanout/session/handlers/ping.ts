/** `ping`: everything written before its pong counts as received. */
import type { StoreClock } from "#fanout/store-clock.js";
import type { FrameHandler } from "../frame-handler.js";

export function pingHandler(clock: StoreClock): FrameHandler<"ping"> {
  return (_context, { clientTimeMs }) => ({
    $case: "pong",
    value: { clientTimeMs, serverTimeMs: Math.floor(clock.nowUs() / 1000) },
  });
}
