/**
 * `resume` where it is not the announced first frame: too late, or sent again because a home died after it had
 * dealt with it. The resume itself is `session-resumer.ts`.
 */
import { GatewayError } from "#proto/errors.js";
import { ANSWERED, type FrameHandler } from "../frame-handler.js";

export function resumeHandler(): FrameHandler<"resume"> {
  return ({ session }) => {
    // Only a resume raises the generation: this is the frame that did.
    if (session.upSequenceInHand === 1 && session.resumable.generation > 1) return ANSWERED;
    throw new GatewayError(
      "invalid_argument",
      "resume must be the first frame, announced by ?resume=true or authenticate.resumes",
      { field: "resume" },
    );
  };
}
