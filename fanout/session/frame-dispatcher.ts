/**
 * From a frame's bytes to its handler and back to the answer: decoding, dispatch by body, and the one
 * boundary at which what goes wrong becomes an error frame.
 */
import { randomUUID } from "node:crypto";
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { decodeClientFrame, UnusableFrame } from "#proto/frame-codec.js";
import type { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { UpFrame } from "#proto/gen/realtime/link/v1/link.js";
import { countOne, type FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { StoreClock } from "../store-clock.js";
import {
  ANSWERED,
  type FrameContext,
  type FrameHandler,
  type FrameHandlers,
  type FrameResult,
} from "./frame-handler.js";
import type { ClientBodyType } from "./frame-handler.js";
import type { Session } from "./session.js";

const MAX_CORRELATION_ID = 128;
const MAX_TRACEPARENT = 64;
const MAX_REQUEST_ID = 64;

export class FrameDispatcher {
  constructor(
    private readonly options: {
      readonly handlers: FrameHandlers;
      readonly clock: StoreClock;
      readonly counters: FanoutCounters;
      readonly logger: Logger;
    },
  ) {}

  /** Never throws; returns a promise only where the handler must wait. */
  readonly handle = (session: Session, up: UpFrame): Promise<void> | undefined => {
    let frame: ClientFrame;
    try {
      frame = decodeClientFrame(session.framing, up.payload);
    } catch (thrown) {
      countOne(this.options.counters.framesReceived, `${session.namespace} invalid`);
      this.#fail(session, thrown, thrown instanceof UnusableFrame ? thrown.frameId : 0, "");
      return undefined;
    }
    const { body } = frame;
    if (body === undefined) return undefined; // The codec refuses frames without one.
    countOne(this.options.counters.framesReceived, `${session.namespace} ${body.$case}`);
    const correlationId = frame.correlationId === "" ? randomUUID() : frame.correlationId;
    this.options.logger.debug(
      { correlationId, asks: body.$case, connectionId: session.connectionId },
      "a frame",
    );
    try {
      checkEnvelope(frame);
      if (up.deadlineUs > 0 && this.options.clock.nowUs() > up.deadlineUs) {
        throw new GatewayError("expired", "the frame waited too long for a fanout, and has no effect");
      }
      // The table holds for each body type the handler of that type; TypeScript cannot follow the pairing.
      const handler = this.options.handlers[body.$case] as FrameHandler<ClientBodyType> | undefined;
      if (handler === undefined) {
        throw new GatewayError("unsupported", "this gateway does not serve this body yet", {
          field: body.$case,
        });
      }
      const answer = (answered: FrameResult): void => {
        if (answered === ANSWERED) return;
        if (answered !== undefined) session.send({ replyTo: frame.id, body: answered });
        else if (frame.id !== 0) session.send({ replyTo: frame.id, body: EMPTY_REPLY });
      };
      const context: FrameContext = { session, frame, receivedAtUs: up.receivedAtUs, correlationId, answer };
      const result = handler(context, body.value);
      if (!(result instanceof Promise)) {
        answer(result);
        return undefined;
      }
      return result
        .then(answer)
        .catch((thrown: unknown) => this.#fail(session, thrown, frame.id, correlationId));
    } catch (thrown) {
      this.#fail(session, thrown, frame.id, correlationId);
      return undefined;
    }
  };

  #fail(session: Session, thrown: unknown, replyTo: number, correlationId: string): void {
    const error = toGatewayError(thrown);
    countOne(this.options.counters.requestErrors, error.kind);
    const fields = { code: error.kind, correlationId, connectionId: session.connectionId };
    if (error.kind === "internal") this.options.logger.error({ ...fields, err: thrown }, "a frame failed");
    else this.options.logger.debug(fields, "a frame was refused");
    session.sendError(error, replyTo);
  }
}

const EMPTY_REPLY = { $case: "reply", value: { position: undefined, id: "", timeMs: 0 } } as const;

function checkEnvelope(frame: ClientFrame): void {
  if (frame.correlationId.length > MAX_CORRELATION_ID) throw tooLong("correlation_id", MAX_CORRELATION_ID);
  if (frame.traceparent.length > MAX_TRACEPARENT) throw tooLong("traceparent", MAX_TRACEPARENT);
  if (frame.requestId.length > MAX_REQUEST_ID) throw tooLong("request_id", MAX_REQUEST_ID);
}

function tooLong(field: string, limit: number): GatewayError {
  return new GatewayError("invalid_argument", `${field} has at most ${limit} characters`, { field });
}
