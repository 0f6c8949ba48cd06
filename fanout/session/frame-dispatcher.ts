/**
 * From a frame's bytes to its handler and back to the answer: decoding, the gate of the rate limits, dispatch
 * by body, and the one boundary at which what goes wrong becomes an error frame.
 */
import { randomUUID } from "node:crypto";
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { decodeClientFrame, UnusableFrame } from "#proto/frame-codec.js";
import type { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { UpFrame } from "#proto/gen/realtime/link/v1/link.js";
import type { FrameGate } from "#fanout/limits/frame-gate.js";
import { countOne, type FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { StoreClock } from "../store-clock.js";
import {
  ANSWERED,
  fieldOf,
  type FrameContext,
  type FrameHandler,
  type FrameHandlers,
  type FrameResult,
  type ServerBody,
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
      readonly gate: FrameGate;
      readonly clock: StoreClock;
      readonly counters: FanoutCounters;
      readonly logger: Logger;
    },
  ) {}

  /** Never throws; returns a promise only where the handler must wait, or the gate. */
  readonly handle = (session: Session, up: UpFrame): Promise<void> | undefined => {
    const frame = readFrame(session, up);
    const bodyType = frame instanceof Unreadable ? undefined : frame.body?.$case;
    countOne(this.options.counters.framesReceived, `${session.namespace} ${bodyType ?? "invalid"}`);
    const waitMs = this.options.gate.admit(session, up, bodyType);
    if (typeof waitMs === "number") return this.#admit(session, up, frame, waitMs);
    // Where the session has ended meanwhile, its edge has taken it, and this frame, to another home.
    return waitMs.then((ms) => (session.isEnded ? undefined : this.#admit(session, up, frame, ms)));
  };

  #admit(
    session: Session,
    up: UpFrame,
    frame: ClientFrame | Unreadable,
    waitMs: number,
  ): Promise<void> | undefined {
    if (waitMs === 0) return this.#deal(session, up, frame);
    const { gate } = this.options;
    const isRead = !(frame instanceof Unreadable);
    const thrown = gate.refusal(isRead ? frame.body?.$case : undefined, waitMs);
    this.#fail(session, up, { thrown, replyTo: frame.id, correlationId: isRead ? frame.correlationId : "" });
    gate.refused(session);
    return undefined;
  }

  #deal(session: Session, up: UpFrame, frame: ClientFrame | Unreadable): Promise<void> | undefined {
    if (frame instanceof Unreadable) {
      this.#fail(session, up, { thrown: frame.thrown, replyTo: frame.id, correlationId: "" });
      return undefined;
    }
    const { body } = frame;
    if (body === undefined) return undefined; // The codec refuses frames without one.
    const correlationId = frame.correlationId === "" ? randomUUID() : frame.correlationId;
    this.options.logger.debug(
      { correlationId, asks: body.$case, connectionId: session.connectionId },
      "a frame",
    );
    try {
      checkFrame(frame, up, this.options.clock);
      // The table holds for each body type the handler of that type; TypeScript cannot follow the pairing.
      const handler = this.options.handlers[body.$case] as FrameHandler<ClientBodyType> | undefined;
      if (handler === undefined) {
        throw new GatewayError("unsupported", "this gateway does not serve this body yet", {
          field: fieldOf(body.$case),
        });
      }
      const answer = (body: ServerBody): void => session.send({ replyTo: frame.id, body });
      // What a handler has answered itself is not dealt with before it returns: it goes on behind its answer.
      const finish = (result: FrameResult): void => {
        if (result === ANSWERED) return;
        // Nobody waits for the reply to a frame without an id; what was asked for is given all the same.
        if (frame.id === 0 && (result === undefined || result.$case === "reply")) return;
        session.answer({ replyTo: frame.id, body: result ?? EMPTY_REPLY }, up.upSequence);
      };
      const context: FrameContext = {
        session,
        frame,
        receivedAtUs: up.receivedAtUs,
        correlationId,
        requestKey: requestKey(session, frame, up),
        answer,
      };
      const result = handler(context, body.value);
      if (!(result instanceof Promise)) {
        finish(result);
        return undefined;
      }
      return result
        .then(finish)
        .catch((thrown: unknown) => this.#fail(session, up, { thrown, replyTo: frame.id, correlationId }));
    } catch (thrown) {
      this.#fail(session, up, { thrown, replyTo: frame.id, correlationId });
      return undefined;
    }
  }

  #fail(
    session: Session,
    up: UpFrame,
    failure: { thrown: unknown; replyTo: number; correlationId: string },
  ): void {
    const { thrown, replyTo, correlationId } = failure;
    const error = toGatewayError(thrown);
    countOne(this.options.counters.requestErrors, error.kind);
    const fields = { code: error.kind, correlationId, connectionId: session.connectionId };
    if (error.kind === "internal") this.options.logger.error({ ...fields, err: thrown }, "a frame failed");
    else this.options.logger.debug(fields, "a frame was refused");
    session.answer({ replyTo, body: { $case: "error", value: error.toMessage() } }, up.upSequence);
  }
}

/** What came instead of a frame. */
class Unreadable {
  constructor(
    readonly thrown: unknown,
    /** Of the frame that it was to be; 0 where not even that can be read. */
    readonly id: number,
  ) {}
}

function readFrame(session: Session, up: UpFrame): ClientFrame | Unreadable {
  try {
    return decodeClientFrame(session.framing, up.payload);
  } catch (thrown) {
    return new Unreadable(thrown, thrown instanceof UnusableFrame ? thrown.frameId : 0);
  }
}

/**
 * What makes an effect of this frame repeatable. Only this user's own request ids are recognised: nobody gets an
 * answer that was another's. Keys of backend services are single lines: no client can use one of theirs.
 */
function requestKey(session: Session, frame: ClientFrame, up: UpFrame): string {
  const { userId } = session.principal;
  // Without a request id: through any number of homes, but not over a reconnect.
  if (frame.requestId === "") return `frame\n${session.connectionId}\n${up.upSequence}`;
  return `request\n${userId}\n${frame.requestId}`;
}

const EMPTY_REPLY = { $case: "reply", value: { position: undefined, id: "", timeMs: 0 } } as const;

/** What holds for frames of every body. @throws GatewayError invalid_argument, expired. */
export function checkFrame(frame: ClientFrame, up: UpFrame, clock: StoreClock): void {
  if (frame.correlationId.length > MAX_CORRELATION_ID) throw tooLong("correlation_id", MAX_CORRELATION_ID);
  if (frame.traceparent.length > MAX_TRACEPARENT) throw tooLong("traceparent", MAX_TRACEPARENT);
  if (frame.requestId.length > MAX_REQUEST_ID) throw tooLong("request_id", MAX_REQUEST_ID);
  if (up.deadlineUs > 0 && clock.nowUs() > up.deadlineUs) {
    throw new GatewayError("expired", "the frame waited too long for a fanout, and has no effect");
  }
}

function tooLong(field: string, limit: number): GatewayError {
  return new GatewayError("invalid_argument", `${field} has at most ${limit} characters`, { field });
}
