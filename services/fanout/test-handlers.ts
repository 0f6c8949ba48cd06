/**
 * Hooks for tests of faults, behind TEST_HOOKS, which production refuses: custom events of the types `test.…`
 * do what a bug in native code, a full heap or a forgotten catch would do to the fanout that deals with them.
 * Whoever accepts an offer `test.crash…` ends the fanout after the store has it and before anybody is told.
 * All else is the product's.
 */
import { GatewayError } from "#proto/errors.js";
import type { FrameHandlers, FrameResult } from "#fanout/session/frame-handler.js";

export function testHandlers(product: FrameHandlers): FrameHandlers {
  return {
    ...product,
    offerAccept: async (context, body) => {
      if (product.offerAccept === undefined)
        throw new GatewayError("unsupported", "there is no such handler");
      const result = await product.offerAccept(context, body);
      // Telling has begun, and waits for the store's first answer.
      if (body.offerId.startsWith("test.crash")) return misbehave("test.crash");
      return result;
    },
    custom: (context, body) => {
      if (body.type.startsWith("test.")) return misbehave(body.type);
      if (product.custom === undefined) throw new GatewayError("unsupported", "there is no such handler");
      return product.custom(context, body);
    },
  };
}

/** What it begins, it never answers. */
function misbehave(type: string): Promise<FrameResult> {
  switch (type) {
    case "test.crash":
      process.kill(process.pid, "SIGKILL");
      break;
    case "test.throw":
      setImmediate(() => {
        throw new Error("thrown on purpose by test.throw");
      });
      break;
    case "test.reject":
      void Promise.reject(new Error("rejected on purpose by test.reject"));
      break;
    default:
      throw new GatewayError("invalid_argument", "there is no such hook for tests", { field: "custom.type" });
  }
  return new Promise(() => undefined);
}
