import { expect, it } from "vitest";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { rememberedSession } from "#test/support/remembered-session.js";
import { pingHandler } from "./ping.js";

it("a ping is answered with its own time and the store's, in milliseconds", () => {
  const { session } = rememberedSession({ handle: () => undefined });
  const frame = ClientFrame.fromPartial({});
  const context = {
    session,
    frame,
    receivedAtUs: 1,
    correlationId: "",
    requestKey: "",
    answer: () => undefined,
  };
  const answer = pingHandler({ nowUs: () => 7_999 })(context, { clientTimeMs: 5 });
  expect(answer).toEqual({ $case: "pong", value: { clientTimeMs: 5, serverTimeMs: 7 } });
});
