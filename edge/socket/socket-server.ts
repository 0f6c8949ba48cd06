/**
 * Takes WebSocket handshakes on `/ws`: refuses what must not come in (with an HTTP answer that says why),
 * checks the token, and makes connections of the rest. A faulty token is told by a close code after the
 * upgrade: browsers do not show the answer to a refused handshake to the page.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type ServerOptions, type WebSocket } from "ws";
import { ERROR_KINDS, GatewayError, toGatewayError } from "#proto/errors.js";
import type { Authenticate } from "#proto/gen/realtime/client/v1/client_frame.js";
import { Framing, type Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Admission } from "../admission/admission.js";
import { clientAddress } from "../admission/client-address.js";
import type { ConnectionSlot } from "../admission/connection-slot.js";
import {
  readClientDescription,
  readHandshakeCredentials,
  type HandshakeCredentials,
} from "../auth/handshake-token.js";
import { checkUserType } from "../auth/user-type.js";
import type { TokenVerifier } from "../auth/token-verifier.js";
import { countOne, type EdgeCounters } from "../edge-counters.js";
import { Connection, type ConnectionListener } from "./connection.js";
import { WriteTurn, type SlowSocketLimits, type SocketWriter } from "./socket-writer.js";
import { refuseUpgrade, type UpgradeRefusal } from "./upgrade-refusal.js";

/** The subprotocols of `/ws`. */
export const SUBPROTOCOLS: ReadonlyMap<string, Framing> = new Map([
  ["realtime.v1.protobuf", Framing.FRAMING_PROTOBUF],
  ["realtime.v1.json", Framing.FRAMING_JSON],
]);

export interface SocketServerOptions {
  readonly maxPayloadBytes: number;
  readonly maxFragments: number;
  readonly firstFrameDeadlineMs: number;
  readonly trustedProxies: number;
  readonly trustUserType: boolean;
  readonly slow: SlowSocketLimits;
  readonly admission: Admission;
  readonly verifier: TokenVerifier;
  readonly counters: EdgeCounters;
  readonly backlogged: Set<SocketWriter>;
  readonly listener: ConnectionListener;
  readonly nowMs: () => number;
  /** Undefined: new sockets are welcome. */
  readonly refusal: () => UpgradeRefusal | undefined;
  /** A connection whose token is good. */
  readonly opened: (connection: Connection, opening: Opening) => void;
}

/** What a good token and the handshake say about a new session. */
export interface Opening extends Said {
  readonly principal: Principal;
}

/** What a client says about itself, and how to answer it. */
interface Said {
  readonly deviceId: string;
  readonly platform: string;
  readonly replyTo: number;
  readonly traceparent: string;
}

export class SocketServer {
  readonly connections = new Set<Connection>();
  readonly #options: SocketServerOptions;
  readonly #websockets: WebSocketServer;
  readonly #turn = new WriteTurn();

  constructor(options: SocketServerOptions) {
    this.#options = options;
    // The typings of ws lag behind it: closeTimeout ends the wait for a peer's close frame.
    const limits: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: options.maxPayloadBytes,
      maxFragments: options.maxFragments,
      closeTimeout: 3000,
      handleProtocols: (offered) => chooseSubprotocol(offered) ?? false,
    };
    this.#websockets = new WebSocketServer(limits);
  }

  /** For `server.on("upgrade")`. Never rejects. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const drop = (): void => void socket.destroy();
    socket.on("error", drop);
    const examined = this.#examine(request);
    if ("reason" in examined) {
      countOne(this.#options.counters.handshakesRefused, examined.reason);
      refuseUpgrade(socket, examined);
      return;
    }
    const { slot, credentials } = examined;
    socket.once("close", () => slot.closed());
    const said = {
      deviceId: credentials.deviceId,
      platform: credentials.platform,
      replyTo: 0,
      traceparent: traceparentOf(request),
    };
    const verified =
      credentials.token === undefined
        ? undefined
        : await this.#verify(credentials.token, credentials.userType);
    if (socket.destroyed) return;
    socket.off("error", drop);
    this.#websockets.handleUpgrade(request, socket, head, (websocket) => {
      const connection = this.#connected(websocket, socket, slot);
      if (verified !== undefined) this.#open(connection, verified, said);
    });
  }

  /** Checks the token of an `authenticate` frame, and opens the connection. Never rejects. */
  async authenticate(connection: Connection, request: Authenticate, frameId: number): Promise<void> {
    const nothing = { deviceId: "", platform: "", replyTo: frameId, traceparent: "" };
    try {
      const description = readClientDescription(request);
      const verified = await this.#verify(request.token, description.userType);
      this.#open(connection, verified, { ...nothing, ...description });
    } catch (thrown) {
      this.#open(connection, toGatewayError(thrown), nothing);
    }
  }

  #examine(
    request: IncomingMessage,
  ): { slot: ConnectionSlot; credentials: HandshakeCredentials } | (UpgradeRefusal & { reason: string }) {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path !== "/ws") {
      return { reason: "path", status: 404, code: "not_found", message: "WebSockets are at /ws" };
    }
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    if (chooseSubprotocol(offered) === undefined) {
      const message = `offer one of the subprotocols ${[...SUBPROTOCOLS.keys()].join(", ")}`;
      return { reason: "subprotocol", status: 400, code: "invalid_argument", message };
    }
    const closed = this.#options.refusal();
    if (closed !== undefined) return { ...closed, reason: closed.code };
    const credentials = credentialsOf(request);
    if (credentials instanceof GatewayError) {
      return { reason: "handshake", status: 400, code: credentials.kind, message: credentials.message };
    }
    return this.#admit(request, credentials);
  }

  #admit(
    request: IncomingMessage,
    credentials: HandshakeCredentials,
  ): { slot: ConnectionSlot; credentials: HandshakeCredentials } | (UpgradeRefusal & { reason: string }) {
    const { admission, trustedProxies, nowMs } = this.#options;
    const decision = admission.admit({
      address: clientAddress({
        remoteAddress: request.socket.remoteAddress,
        forwardedFor: request.headers["x-forwarded-for"],
        trustedProxyHops: trustedProxies,
      }),
      origin: request.headers.origin,
      nowMs: nowMs(),
    });
    if (decision.admitted) return { slot: decision.slot, credentials };
    const { reason, status, retryAfterMs } = decision;
    if (reason === "origin") {
      return { reason, status, code: "permission_denied", message: "this origin is not allowed" };
    }
    return {
      reason,
      status,
      code: "rate_limited",
      message: "too many connections; try again later",
      retryAfterMs,
    };
  }

  /** The principal of a token, or why it is none. */
  async #verify(token: string, userType: string): Promise<Principal | GatewayError> {
    const { verifier, trustUserType } = this.#options;
    try {
      const { principal } = await verifier.verify(token);
      return checkUserType(principal, userType, { trustUserType });
    } catch (thrown) {
      return toGatewayError(thrown);
    }
  }

  #connected(websocket: WebSocket, socket: Duplex, slot: ConnectionSlot): Connection {
    const { listener, counters, slow, backlogged, nowMs, firstFrameDeadlineMs } = this.#options;
    const connection = new Connection({
      websocket,
      socket,
      slot,
      framing: SUBPROTOCOLS.get(websocket.protocol) ?? Framing.FRAMING_JSON,
      connectionId: randomUUID(),
      openedAtMs: nowMs(),
      firstFrameDeadlineMs,
      listener: {
        ...listener,
        closed: (closed, session, reason) => {
          this.connections.delete(closed);
          counters.connectionDurationMs?.observe(nowMs() - closed.openedAtMs);
          countOne(counters.connectionsClosed, reason);
          listener.closed(closed, session, reason);
        },
      },
      writer: { turn: this.#turn, limits: slow, counters, backlogged },
    });
    this.connections.add(connection);
    counters.connectionsOpened += 1;
    return connection;
  }

  #open(connection: Connection, verified: Principal | GatewayError, said: Said): void {
    if (verified instanceof GatewayError) {
      countOne(this.#options.counters.authenticationErrors, authenticationReason(verified));
      connection.refuse(verified, ERROR_KINDS[verified.kind].closeCode, said.replyTo);
      return;
    }
    connection.slot.opened();
    this.#options.opened(connection, { ...said, principal: verified });
  }
}

function chooseSubprotocol(offered: Iterable<string>): string | undefined {
  for (const name of offered) if (SUBPROTOCOLS.has(name)) return name;
  return undefined;
}

function credentialsOf(request: IncomingMessage): HandshakeCredentials | GatewayError {
  try {
    return readHandshakeCredentials(request.headers, request.url);
  } catch (thrown) {
    return toGatewayError(thrown);
  }
}

/** A header of 55 characters (https://www.w3.org/TR/trace-context/), else nothing. */
function traceparentOf(request: IncomingMessage): string {
  const header = request.headers["traceparent"];
  return typeof header === "string" && header.length === 55 ? header : "";
}

function authenticationReason(error: GatewayError): string {
  return "reason" in error && typeof error.reason === "string" ? error.reason : error.kind;
}
