import { describe, expect, it, vi } from "vitest";
import { GatewayError, type ErrorName } from "#proto/errors.js";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { SILENT } from "#test/support/fanout-core.js";
import { rememberedSession } from "#test/support/remembered-session.js";
import { FrameGate } from "#fanout/limits/frame-gate.js";
import { FanoutCounters } from "../fanout-counters.js";
import { FrameDispatcher } from "./frame-dispatcher.js";
import { ANSWERED, type FrameContext, type FrameHandlers } from "./frame-handler.js";

const PING = { $case: "ping", value: { clientTimeMs: 5 } } as const;
const PONG = { $case: "pong", value: { clientTimeMs: 5, serverTimeMs: 6 } } as const;

function setUp(handlers: FrameHandlers, nowUs = 1) {
  const counters = new FanoutCounters();
  const error = vi.fn();
  const clock = { nowUs: () => nowUs };
  const gate = new FrameGate({ counters });
  const dispatcher = new FrameDispatcher({ handlers, gate, clock, counters, logger: { ...SILENT, error } });
  const { session, sent } = rememberedSession({ handle: dispatcher.handle });
  const answers = (): ServerFrame[] =>
    sent.flatMap((item) => (item.$case === "frame" ? [ServerFrame.decode(item.value.payload)] : []));
  const deal = async (payload: Uint8Array, deadlineUs = 0): Promise<ServerFrame[]> => {
    await dispatcher.handle(session, { session: 1, upSequence: 1, receivedAtUs: 9, deadlineUs, payload });
    return answers();
  };
  const ask = (frame: Partial<ClientFrame>, deadlineUs?: number): Promise<ServerFrame[]> =>
    deal(
      ClientFrame.encode({ ...ClientFrame.fromPartial({}), id: 3, body: PING, ...frame }).finish(),
      deadlineUs,
    );
  return { counters, error, deal, ask, session, dispatcher, answers };
}

describe("an answer", () => {
  it("is what the handler returns, at once or later", async () => {
    expect(await setUp({ ping: () => PONG }).ask({})).toEqual([{ replyTo: 3, body: PONG }]);
    expect(await setUp({ ping: () => Promise.resolve(PONG) }).ask({})).toEqual([{ replyTo: 3, body: PONG }]);
  });

  it("is an empty reply where the handler says nothing, and none where the frame has no id", async () => {
    const reply = { $case: "reply", value: { position: undefined, id: "", timeMs: 0 } };
    expect(await setUp({ ping: () => undefined }).ask({})).toEqual([{ replyTo: 3, body: reply }]);
    expect(await setUp({ ping: () => undefined }).ask({ id: 0 })).toEqual([]);
  });

  it("is the handler's own where it has answered itself", async () => {
    const { ask } = setUp({
      ping: (context: FrameContext) => {
        context.answer(PONG);
        return ANSWERED;
      },
    });
    expect(await ask({})).toEqual([{ replyTo: 3, body: PONG }]);
  });

  it("that need not wait is given in the same turn", () => {
    const { dispatcher, session, answers } = setUp({ ping: () => PONG });
    const payload = ClientFrame.encode({ ...ClientFrame.fromPartial({}), id: 1, body: PING }).finish();
    const up = { session: 1, upSequence: 1, receivedAtUs: 1, deadlineUs: 0, payload };
    expect(dispatcher.handle(session, up)).toBeUndefined();
    expect(answers()).toHaveLength(1);
  });
});

describe("an error", () => {
  const kinds: readonly [ErrorName, ErrorCode][] = [
    ["unauthenticated", ErrorCode.ERROR_CODE_UNAUTHENTICATED],
    ["permission_denied", ErrorCode.ERROR_CODE_PERMISSION_DENIED],
    ["invalid_argument", ErrorCode.ERROR_CODE_INVALID_ARGUMENT],
    ["not_found", ErrorCode.ERROR_CODE_NOT_FOUND],
    ["conflict", ErrorCode.ERROR_CODE_CONFLICT],
    ["expired", ErrorCode.ERROR_CODE_EXPIRED],
    ["rate_limited", ErrorCode.ERROR_CODE_RATE_LIMITED],
    ["payload_too_large", ErrorCode.ERROR_CODE_PAYLOAD_TOO_LARGE],
    ["unavailable", ErrorCode.ERROR_CODE_UNAVAILABLE],
    ["unsupported", ErrorCode.ERROR_CODE_UNSUPPORTED],
  ];

  it.each(kinds)("%s reaches the client with its field, thrown at once or later", async (kind, code) => {
    const thrown = new GatewayError(kind, "a message", { field: "ping.x", retryAfterMs: 7 });
    const value = { code, message: "a message", field: "ping.x", retryAfterMs: 7 };
    const atOnce = setUp({
      ping: () => {
        throw thrown;
      },
    });
    expect(await atOnce.ask({})).toEqual([{ replyTo: 3, body: { $case: "error", value } }]);
    const later = setUp({ ping: () => Promise.reject(thrown) });
    expect(await later.ask({})).toEqual([{ replyTo: 3, body: { $case: "error", value } }]);
    expect(later.counters.requestErrors.get(kind)).toBe(1);
    expect(later.error).not.toHaveBeenCalled();
  });

  it("that is nobody's fault but ours hides its cause from the client and tells it to the log", async () => {
    const { ask, error } = setUp({ ping: () => Promise.reject(new Error("SELECT secret")) });
    const [answer] = await ask({ correlationId: "c-1" });
    expect(JSON.stringify(answer)).not.toContain("secret");
    expect(answer).toMatchObject({ replyTo: 3, body: { value: { code: ErrorCode.ERROR_CODE_INTERNAL } } });
    expect(error).toHaveBeenCalledWith(expect.objectContaining({ correlationId: "c-1" }), expect.any(String));
  });

  it("unsupported answers a body without a handler, and names it", async () => {
    const [answer] = await setUp({}).ask({});
    const value = { code: ErrorCode.ERROR_CODE_UNSUPPORTED, field: "ping" };
    expect(answer).toMatchObject({ replyTo: 3, body: { value } });
  });

  it("answers a frame that cannot be read, by its id where that can be", async () => {
    const { deal, counters } = setUp({});
    // id = 9, and a body that this release does not know (field 90).
    const answers = await deal(Buffer.from([0x08, 9, 0xd2, 0x05, 0]));
    expect(answers[0]).toMatchObject({
      replyTo: 9,
      body: { value: { code: ErrorCode.ERROR_CODE_UNSUPPORTED } },
    });
    await deal(Buffer.from([0x08, 9]));
    const all = await deal(Buffer.from([0xff, 0xff]));
    const invalid = { code: ErrorCode.ERROR_CODE_INVALID_ARGUMENT };
    expect(all[1]).toMatchObject({ replyTo: 9, body: { value: invalid } });
    expect(all[2]).toMatchObject({ replyTo: 0, body: { value: invalid } });
    expect(counters.framesReceived.get("native invalid")).toBe(3);
  });

  it.each([
    ["correlation_id", { correlationId: "c".repeat(129) }],
    ["traceparent", { traceparent: "t".repeat(65) }],
    ["request_id", { requestId: "r".repeat(65) }],
  ])("refuses a %s that is too long, and does nothing", async (field, frame) => {
    const ping = vi.fn();
    const [answer] = await setUp({ ping }).ask(frame);
    const value = { code: ErrorCode.ERROR_CODE_INVALID_ARGUMENT, field };
    expect(answer).toMatchObject({ replyTo: 3, body: { value } });
    expect(ping).not.toHaveBeenCalled();
  });

  it("expired answers a frame that waited beyond its deadline, without an effect", async () => {
    const ping = vi.fn();
    const [answer] = await setUp({ ping }, 100).ask({}, 99);
    expect(answer).toMatchObject({ body: { value: { code: ErrorCode.ERROR_CODE_EXPIRED } } });
    expect(ping).not.toHaveBeenCalled();
    await setUp({ ping }, 100).ask({}, 100);
    expect(ping).toHaveBeenCalledTimes(1);
  });
});

describe("a frame in JSON framing", () => {
  it("is read and answered in it", async () => {
    const counters = new FanoutCounters();
    const clock = { nowUs: () => 1 };
    const dispatcher = new FrameDispatcher({
      handlers: { ping: () => PONG },
      gate: new FrameGate({ counters }),
      clock,
      counters,
      logger: SILENT,
    });
    const { session, sent } = rememberedSession({
      handle: dispatcher.handle,
      open: { framing: Framing.FRAMING_JSON },
    });
    const payload = Buffer.from('{"id":4,"ping":{"clientTimeMs":"5"}}');
    await dispatcher.handle(session, { session: 1, upSequence: 1, receivedAtUs: 1, deadlineUs: 0, payload });
    const [item] = sent;
    const json: unknown =
      item?.$case === "frame" ? JSON.parse(Buffer.from(item.value.payload).toString()) : {};
    expect(json).toEqual({ replyTo: 4, pong: { clientTimeMs: "5", serverTimeMs: "6" } });
  });
});

it("what a frame causes carries the client's correlation id, or one that is made", async () => {
  const seen: string[] = [];
  const { ask } = setUp({ ping: ({ correlationId }) => void seen.push(correlationId) });
  await ask({ correlationId: "c-1" });
  await ask({});
  expect(seen[0]).toBe("c-1");
  expect(seen[1]).toMatch(/^[0-9a-f-]{36}$/);
});
