/**
 * One WebSocket: its lifecycle, from the handshake (or the first `authenticate` frame) to the close, and
 * the only place that touches the `ws` object. Native frames pass through it without being decoded.
 */
import type { Duplex } from "node:stream";
import type WebSocket from "ws";
import { CloseCode } from "#proto/close-codes.js";
import { decodeClientFrame, encodeServerFrame, UnusableFrame } from "#proto/frame-codec.js";
import { GatewayError, toGatewayError } from "#proto/errors.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import type { Authenticate } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { ConnectionSlot } from "../admission/connection-slot.js";
import type { LinkedSession } from "../link/edge-link.js";
import type { PauseReason, SessionSocket } from "../session/edge-session.js";
import type { Beating, HeartbeatPing } from "./heartbeat.js";
import { SocketWriter, type SocketWriterOptions } from "./socket-writer.js";
import { Opcode, pingNumber, websocketFrame } from "./websocket-frame.js";

type Phase =
  /** Waits for an `authenticate` frame. */
  | { readonly at: "authenticating"; readonly deadline: NodeJS.Timeout }
  /** The token of an `authenticate` frame is being checked; a few frames may come meanwhile. */
  | { readonly at: "verifying"; readonly early: Buffer[] }
  | { readonly at: "open"; readonly session: LinkedSession }
  | { readonly at: "closed" };

export interface ConnectionListener {
  /** The first frame asks to authenticate. */
  authenticate(connection: Connection, request: Authenticate, frameId: number): void;
  frame(session: LinkedSession, payload: Uint8Array): void;
  /** The client answers the ping with this number; or says so. */
  pong(session: LinkedSession, ping: number): void;
  /** The connection has lived its time. Told once. */
  lifetimeOver(connection: Connection): void;
  /** Exactly once. `reason`: one word of a closed set, for metrics. */
  closed(connection: Connection, session: LinkedSession | undefined, reason: string): void;
}

export interface ConnectionOptions {
  readonly websocket: WebSocket;
  readonly socket: Duplex;
  readonly framing: Framing;
  readonly connectionId: string;
  /** Its place at the edge, until it is gone. */
  readonly slot: ConnectionSlot;
  readonly openedAtMs: number;
  /** By the steady clock; Infinity: it may live for ever. */
  readonly livesUntilMs: number;
  /** The handshake said that a `resume` frame follows. */
  readonly announcedResume: boolean;
  /** The handshake said that the user's own channels are followed unasked. */
  readonly announcedFollowOwn: boolean;
  readonly firstFrameDeadlineMs: number;
  readonly listener: ConnectionListener;
  readonly writer: Omit<SocketWriterOptions, "socket" | "onSlow">;
}

export class Connection implements SessionSocket, Beating {
  readonly connectionId: string;
  readonly framing: Framing;
  readonly slot: ConnectionSlot;
  readonly openedAtMs: number;
  readonly announcedResume: boolean;
  readonly announcedFollowOwn: boolean;
  readonly writer: SocketWriter;
  missedHeartbeats = 0;
  readonly #websocket: WebSocket;
  readonly #listener: ConnectionListener;
  readonly #opcode: Opcode;
  #phase: Phase;
  #livesUntilMs: number;
  #hasSignOfLife = true;
  #closeReason: string | undefined;
  #isPausedForUnanswered = false;
  #isPausedForLink = false;
  /** What ws had read already when reading was paused: at most one read of the socket. */
  #readAhead: Buffer[] = [];
  #forwarded = 0;

  constructor(options: ConnectionOptions) {
    this.connectionId = options.connectionId;
    this.framing = options.framing;
    this.slot = options.slot;
    this.openedAtMs = options.openedAtMs;
    this.announcedResume = options.announcedResume;
    this.announcedFollowOwn = options.announcedFollowOwn;
    this.#livesUntilMs = options.livesUntilMs;
    this.#opcode = options.framing === Framing.FRAMING_JSON ? Opcode.TEXT : Opcode.BINARY;
    this.#websocket = options.websocket;
    this.#listener = options.listener;
    this.writer = new SocketWriter({
      ...options.writer,
      socket: options.socket,
      onSlow: () => this.close(CloseCode.SLOW, "the client reads too slowly", "slow"),
    });
    const deadline = setTimeout(
      () =>
        this.close(CloseCode.AUTHENTICATION_TIMEOUT, "no authenticate frame came in time", "authentication"),
      options.firstFrameDeadlineMs,
    );
    this.#phase = { at: "authenticating", deadline };
    const websocket = options.websocket;
    websocket.on("message", (data: Buffer, isBinary: boolean) => this.#received(data, isBinary));
    websocket.on("pong", (data) => this.#ponged(data));
    websocket.on("ping", () => (this.#hasSignOfLife = true));
    // What breaks RFC 6455 (size, UTF-8, masks) is closed by ws itself with 1002, 1007 or 1009.
    websocket.on("error", () => {
      this.#closeReason ??= "protocol";
      // Its close frame is sent; nothing may follow it.
      this.writer.end();
    });
    websocket.on("close", () => this.#closed());
  }

  get isOpen(): boolean {
    return this.#phase.at === "open";
  }

  /** The token is good: frames go to the session from now on. False where the socket is gone meanwhile. */
  opened(session: LinkedSession): boolean {
    const phase = this.#phase;
    if (phase.at === "open" || phase.at === "closed" || this.#closeReason !== undefined) return false;
    if (phase.at === "authenticating") clearTimeout(phase.deadline);
    this.#phase = { at: "open", session };
    if (phase.at === "verifying") {
      this.#readAhead = phase.early;
      this.#forwardReadAhead();
      if (!this.#isPaused) this.#websocket.resume();
    }
    return true;
  }

  /** Says why, as a frame, before the close code says what to do. */
  refuse(error: GatewayError, code: number, replyTo = 0): void {
    const frame = { replyTo, body: { $case: "error", value: error.toMessage() } } as const;
    this.writer.write(this.frame(encodeServerFrame(this.framing, frame)));
    this.close(code, error.message, "authentication");
  }

  frame(payload: Uint8Array): Buffer {
    return websocketFrame(this.#opcode, payload);
  }

  close(code: number, reason: string, label = closeLabel(code)): void {
    if (this.#phase.at === "closed" || this.#closeReason !== undefined) return;
    this.#closeReason = label;
    this.writer.flush();
    this.writer.end();
    this.#websocket.close(isOwnCode(code) ? code : CloseCode.INTERNAL, cutToBytes(reason, MAX_REASON_BYTES));
    // A client that does not read would otherwise never see the end of a paused socket.
    this.#websocket.resume();
  }

  pauseReading(reason: PauseReason): void {
    if (reason === "link") this.#isPausedForLink = true;
    else this.#isPausedForUnanswered = true;
    this.#websocket.pause();
  }

  resumeReading(reason: PauseReason): void {
    if (reason === "link") this.#isPausedForLink = false;
    else this.#isPausedForUnanswered = false;
    this.#forwardReadAhead();
    if (!this.#isPaused) this.#websocket.resume();
  }

  takeSignOfLife(): boolean {
    // A socket that the edge itself does not read cannot give one.
    const had = this.#hasSignOfLife || this.#isPaused;
    this.#hasSignOfLife = false;
    return had;
  }

  ping({ number, frame }: HeartbeatPing): void {
    if (this.#closeReason !== undefined || !this.writer.writeEphemeral(frame)) return;
    if (this.#phase.at !== "open") return;
    const { session } = this.#phase;
    // Without a home there is nobody to confirm to; the next one hears of what it gives itself.
    if (session.home.at === "link") session.confirmed.pinged(number, session);
  }

  heartbeatMissed(): void {
    if (this.#closeReason === undefined)
      this.close(CloseCode.HEARTBEAT_MISSED, "no sign of life for two heartbeats");
    else this.#websocket.terminate();
  }

  visited(steadyMs: number): void {
    if (this.#phase.at !== "open" || steadyMs < this.#livesUntilMs) return;
    this.#livesUntilMs = Infinity;
    this.#listener.lifetimeOver(this);
  }

  terminate(): void {
    this.#closeReason ??= "shutdown";
    this.#websocket.terminate();
  }

  #ponged(data: Buffer): void {
    this.#hasSignOfLife = true;
    if (this.#phase.at === "open") this.#listener.pong(this.#phase.session, pingNumber(data));
  }

  #received(data: Buffer, isBinary: boolean): void {
    this.#hasSignOfLife = true;
    if (this.#closeReason !== undefined) return;
    if (isBinary !== (this.#opcode === Opcode.BINARY)) {
      const expected = isBinary ? "text frames of JSON" : "binary frames of protobuf";
      this.close(CloseCode.PROTOCOL_ERROR, `this subprotocol takes ${expected}`);
      return;
    }
    switch (this.#phase.at) {
      case "open":
        if (this.#isPaused) this.#readAhead.push(data);
        else this.#listener.frame(this.#phase.session, data);
        return;
      case "authenticating":
        this.#readFirstFrame(data);
        return;
      case "verifying":
        if (this.#phase.early.push(data) > MAX_EARLY_FRAMES) {
          this.close(CloseCode.PROTOCOL_ERROR, "wait for welcome before sending so much");
        }
        return;
      case "closed":
        return;
    }
  }

  get #isPaused(): boolean {
    return this.#isPausedForLink || this.#isPausedForUnanswered;
  }

  /** Up to the frame that pauses reading again. May be entered again from within. */
  #forwardReadAhead(): void {
    while (this.#phase.at === "open" && this.#closeReason === undefined && !this.#isPaused) {
      const frame = this.#readAhead[this.#forwarded];
      if (frame === undefined) {
        this.#readAhead = [];
        this.#forwarded = 0;
        return;
      }
      this.#forwarded += 1;
      this.#listener.frame(this.#phase.session, frame);
    }
  }

  #readFirstFrame(data: Buffer): void {
    let replyTo = 0;
    try {
      const { id, body } = decodeClientFrame(this.framing, data);
      replyTo = id;
      if (body?.$case !== "authenticate") {
        throw new GatewayError(
          "unauthenticated",
          "the first frame must be authenticate, or send a token in the handshake",
        );
      }
      if (this.#phase.at === "authenticating") clearTimeout(this.#phase.deadline);
      this.#phase = { at: "verifying", early: [] };
      this.#websocket.pause();
      this.#listener.authenticate(this, body.value, id);
    } catch (thrown) {
      if (thrown instanceof UnusableFrame) replyTo = thrown.frameId;
      this.refuse(toGatewayError(thrown), CloseCode.UNAUTHENTICATED, replyTo);
    }
  }

  #closed(): void {
    const phase = this.#phase;
    if (phase.at === "closed") return;
    if (phase.at === "authenticating") clearTimeout(phase.deadline);
    if (phase.at === "open" && this.#closeReason === undefined) {
      // Who sends a burst and leaves has sent it.
      for (const frame of this.#readAhead.slice(this.#forwarded)) this.#listener.frame(phase.session, frame);
    }
    this.#readAhead = [];
    this.#phase = { at: "closed" };
    this.writer.end();
    this.slot.closed();
    this.#listener.closed(
      this,
      phase.at === "open" ? phase.session : undefined,
      this.#closeReason ?? "client",
    );
  }
}

const MAX_EARLY_FRAMES = 16;

/** RFC 6455, section 5.5: a control frame's body has at most 125 bytes, two of them the code. */
const MAX_REASON_BYTES = 123;

/** Whole characters only: half of one would become a longer one, and ws throws at what is too long. */
function cutToBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString("utf8", 0, end);
}

/** The range for applications (RFC 6455, section 7.4.2); ws throws at codes that must not be sent. */
function isOwnCode(code: number): boolean {
  return code >= 4000 && code <= 4999;
}

/** Why sockets were closed, as the metric says it. */
function closeLabel(code: number): string {
  for (const [name, value] of Object.entries(CloseCode)) if (value === code) return name.toLowerCase();
  return "other";
}
