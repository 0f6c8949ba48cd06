/**
 * What deals with one kind of client frame. A handler answers by returning a body, or undefined where the
 * reply is empty; what it throws becomes the error that the client gets, at one boundary.
 */
import type { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Session } from "./session.js";

export type ClientBody = NonNullable<ClientFrame["body"]>;
export type ClientBodyType = ClientBody["$case"];
export type ServerBody = NonNullable<ServerFrame["body"]>;

export interface FrameContext {
  readonly session: Session;
  readonly frame: ClientFrame;
  /** When the edge read it: microseconds since 1970-01-01 UTC, strictly growing for each socket. */
  readonly receivedAtUs: number;
  /** Goes with everything that the frame causes. */
  readonly correlationId: string;
  /** The idempotency key of what the frame makes: the same for a frame that is sent again. */
  readonly requestKey: string;
  /** Sends a body as the answer, now: for handlers that must say more right behind it. */
  readonly answer: (body: ServerBody) => void;
}

export type FrameResult = ServerBody | typeof ANSWERED | undefined;

/** The handler has sent its answer itself. */
export const ANSWERED = Symbol("answered");

export type FrameHandler<T extends ClientBodyType> = (
  context: FrameContext,
  body: Extract<ClientBody, { $case: T }>["value"],
) => FrameResult | Promise<FrameResult>;

/** Bodies without a handler are answered with `unsupported`. */
export type FrameHandlers = { readonly [T in ClientBodyType]?: FrameHandler<T> };

/** As the contract names it, and errors do: `location_update`. */
export function fieldOf(body: ClientBodyType): string {
  return body.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
