import { expect, it, vi } from "vitest";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { FrameContext, FrameHandlers } from "#fanout/session/frame-handler.js";
import { rememberedSession } from "#test/support/remembered-session.js";
import { testHandlers } from "./test-handlers.js";

const context: FrameContext = {
  session: rememberedSession({ handle: () => undefined }).session,
  frame: ClientFrame.fromPartial({}),
  receivedAtUs: 0,
  correlationId: "",
  requestKey: "",
  answer: () => undefined,
};
const event = (type: string) => ({ channel: "order:42", type, data: undefined });

it("custom events are the product's, but those of the tests' own types", () => {
  const custom = vi.fn(() => undefined);
  const ping = vi.fn(() => undefined);
  const handlers: FrameHandlers = testHandlers({ custom, ping });
  expect(handlers.ping).toBe(ping);
  for (const type of ["job.done", "test", "testing.it", ""]) {
    void handlers.custom?.(context, event(type));
    expect(custom).toHaveBeenLastCalledWith(context, event(type));
  }
  expect(() => handlers.custom?.(context, event("test.unknown"))).toThrow("no such hook");
  expect(custom).toHaveBeenCalledTimes(4);
});

it("accepts are the product's, but those that end the fanout right after", async () => {
  const kill = vi.spyOn(process, "kill").mockReturnValue(true);
  try {
    const offerAccept = vi.fn(() => undefined);
    const handlers: FrameHandlers = testHandlers({ offerAccept });
    await handlers.offerAccept?.(context, { offerId: "o1" });
    expect(kill).not.toHaveBeenCalled();
    void handlers.offerAccept?.(context, { offerId: "test.crash-1" });
    await vi.waitFor(() => expect(kill).toHaveBeenCalledWith(process.pid, "SIGKILL"));
    expect(offerAccept).toHaveBeenCalledTimes(2);
  } finally {
    kill.mockRestore();
  }
});
