/**
 * Hooks for tests of faults, behind TEST_HOOKS, which production refuses: a frame that kills the fanout
 * that deals with it, as a bug in native code or a full heap would.
 */
import { GatewayError } from "#proto/errors.js";
import type { FrameHandlers } from "#fanout/session/frame-handler.js";

export function testHandlers(): FrameHandlers {
  return {
    custom: (_context, { type }) => {
      if (type === "test.crash") process.kill(process.pid, "SIGKILL");
      if (type === "test.throw") {
        setImmediate(() => {
          throw new Error("thrown on purpose by test.throw");
        });
        return new Promise(() => undefined);
      }
      if (type === "test.reject") {
        void Promise.reject(new Error("rejected on purpose by test.reject"));
        return new Promise(() => undefined);
      }
      throw new GatewayError("unsupported", "this gateway does not serve this body yet", { field: "custom" });
    },
  };
}
