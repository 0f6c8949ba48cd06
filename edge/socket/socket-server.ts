/**
 * Takes WebSocket handshakes on `/ws`: refuses what must not come in (with an HTTP answer that says why),
 * checks the token, and makes connections of the rest. A faulty token is told by a close code after the
 * upgrade: browsers do not show the answer to a refused handshake to the page.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type ServerOptions } from "ws";
import { ERROR_KINDS, GatewayError, toGatewayError } from "#proto/errors.js";
import type { Authenticate } from "#proto/gen/realtime/client/v1/client_frame.js";
import { Framing, type Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Admission, AdmissionDecision, Refusal } from "../admission/admission.js";
import { clientAddress } from "../admission/client-address.js";
import type { ConnectionSlot } from "../admission/connection-slot.js";
import {
  readClientDescription,
  readHandshakeCredentials,
  type HandshakeCredentials,
} from "../auth/handshake-token.js";
import { anonymousPrincipal } from "../auth/anonymous.js";
import { checkUserType } from "../auth/user-type.js";
import type { TokenVerifier } from "../auth/token-verifier.js";
import { countOne, type EdgeCounters } from "../edge-counters.js";
import { livesUntil } from "../lifetimes.js";
import { Connection, type ConnectionListener, type ConnectionOptions } from "./connection.js";
import { WriteTurn, type SlowSocketLimits, type SocketWriter } from "./socket-writer.js";
import { refuseUpgrade, type UpgradeRefusal } from "./upgrade-refusal.js";
import { WaitingHandshakes, type Upgrade } from "./waiting-handshakes.js";

/** The subprotocols of `/ws`. */
export const SUBPROTOCOLS: ReadonlyMap<string, Framing> = new Map([
  ["realtime.v1.protobuf", Framing.FRAMING_PROTOBUF],
  ["realtime.v1.json", Framing.FRAMING_JSON],
]);

export interface SocketServerOptions {
  readonly maxPayloadBytes: number;
  readonly maxFragments: number;
  readonly firstFrameDeadlineMs: number;
  /** About so long a connection lives; 0: for as long as both sides want. */
  readonly maxConnectionLifetimeMs: number;
  readonly trustedProxies: number;
  readonly trustUserType: boolean;
  /** The app of sessions without a token; absent: everybody needs one. */
  readonly anonymousApp?: string | undefined;
  readonly slow: SlowSocketLimits;
  readonly admission: Admission;
  readonly verifier: TokenVerifier;
  readonly counters: EdgeCounters;
  readonly backlogged: Set<SocketWriter>;
  readonly listener: ConnectionListener;
  /** For what lasts: does not jump when somebody sets the clock. */
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
  /** Its first frame is a `resume`. */
  readonly awaitsResume: boolean;
  /** It wants to follow what its user takes part in. */
  readonly followOwn: boolean;
}

/** A refusal with the word that is counted. */
type CountedRefusal = UpgradeRefusal & { readonly reason: string };

export class SocketServer {
  readonly connections = new Set<Connection>();
  readonly #options: SocketServerOptions;
  readonly #websockets: WebSocketServer;
  readonly #turn = new WriteTurn();
  readonly #waiting: WaitingHandshakes;
  /** One for all connections. */
  readonly #listener: ConnectionListener;

  constructor(options: SocketServerOptions) {
    this.#options = options;
    const { listener, counters, nowMs } = options;
    this.#listener = {
      ...listener,
      closed: (closed, session, reason) => {
        this.connections.delete(closed);
        counters.connectionDurationMs?.observe(nowMs() - closed.openedAtMs);
        countOne(counters.connectionsClosed, reason);
        listener.closed(closed, session, reason);
      },
    };
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
    this.#waiting = new WaitingHandshakes({
      admission: options.admission,
      nowMs: options.nowMs,
      turn: (upgrade, decision, waitedMs) => {
        options.counters.handshakeWaitMs?.observe(waitedMs);
        if (decision.admitted) this.#hadTurn(upgrade, decision.slot);
        else this.#refuse(upgrade.socket, rateRefusal(decision));
      },
    });
  }

  /** For `server.on("upgrade")`. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", destroyed);
    const examined = this.#examine(request);
    if ("reason" in examined) {
      this.#refuse(socket, examined);
      return;
    }
    const decision = this.#admit(request);
    const upgrade = { request, socket, head };
    if (decision.admitted) void this.#admitted(upgrade, decision.slot, examined);
    else if ("place" in decision) this.#waiting.add(decision.place, upgrade);
    else this.#refuse(socket, rateRefusal(decision));
  }

  /** Refuses whoever waits for their turn, as `refusal` says now. */
  refuseWaiting(): void {
    for (const { request, socket } of this.#waiting.giveUpAll()) {
      const examined = this.#examine(request);
      if ("reason" in examined) this.#refuse(socket, examined);
      else socket.destroy();
    }
  }

  /** Checks the token of an `authenticate` frame, and opens the connection. Never rejects. */
  async authenticate(connection: Connection, request: Authenticate, frameId: number): Promise<void> {
    const awaitsResume = connection.announcedResume || request.resumes;
    const followOwn = connection.announcedFollowOwn || request.followOwn;
    const nothing = {
      deviceId: "",
      platform: "",
      replyTo: frameId,
      traceparent: "",
      awaitsResume,
      followOwn,
    };
    try {
      const description = readClientDescription(request);
      const verified = await this.#verifyOrAdmit(request.token, description.userType);
      this.#open(connection, verified, { ...nothing, ...description });
    } catch (thrown) {
      this.#open(connection, toGatewayError(thrown), nothing);
    }
  }

  /** What may have changed since they came is looked at again. */
  #hadTurn(upgrade: Upgrade, slot: ConnectionSlot): void {
    const examined = this.#examine(upgrade.request);
    if (!("reason" in examined)) void this.#admitted(upgrade, slot, examined);
    else {
      slot.closed();
      this.#refuse(upgrade.socket, examined);
    }
  }

  /** Never rejects. */
  async #admitted(upgrade: Upgrade, slot: ConnectionSlot, credentials: HandshakeCredentials): Promise<void> {
    const { request, socket, head } = upgrade;
    const { token, userType, deviceId, platform, resumes, followOwn } = credentials;
    socket.once("close", () => slot.closed());
    const verified = token === undefined ? undefined : await this.verify(token, userType);
    if (socket.destroyed) return;
    const closed = this.#closedNow();
    if (closed !== undefined) {
      this.#refuse(socket, closed);
      return;
    }
    socket.off("error", destroyed);
    const said = {
      deviceId,
      platform,
      replyTo: 0,
      traceparent: traceparentOf(request),
      awaitsResume: resumes,
      followOwn,
    };
    this.#websockets.handleUpgrade(request, socket, head, (websocket) => {
      const announced = { announcedResume: resumes, announcedFollowOwn: followOwn };
      const connection = this.#connected({ websocket, socket, slot, ...announced });
      if (verified !== undefined) this.#open(connection, verified, said);
    });
  }

  countRefused(error: GatewayError): void {
    countOne(this.#options.counters.authenticationErrors, authenticationReason(error));
  }

  #refuse(socket: Duplex, refusal: CountedRefusal): void {
    countOne(this.#options.counters.handshakesRefused, refusal.reason);
    refuseUpgrade(socket, refusal);
  }

  #closedNow(): CountedRefusal | undefined {
    const closed = this.#options.refusal();
    return closed && { ...closed, reason: closed.code };
  }

  #examine(request: IncomingMessage): HandshakeCredentials | CountedRefusal {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path !== "/ws") {
      return { reason: "path", status: 404, code: "not_found", message: "WebSockets are at /ws" };
    }
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    if (chooseSubprotocol(offered) === undefined) {
      const message = `offer one of the subprotocols ${[...SUBPROTOCOLS.keys()].join(", ")}`;
      return { reason: "subprotocol", status: 400, code: "invalid_argument", message };
    }
    const closed = this.#closedNow();
    if (closed !== undefined) return closed;
    const credentials = credentialsOf(request);
    if (credentials instanceof GatewayError) {
      return { reason: "handshake", status: 400, code: credentials.kind, message: credentials.message };
    }
    return credentials;
  }

  #admit(request: IncomingMessage): AdmissionDecision {
    const { admission, trustedProxies, nowMs } = this.#options;
    return admission.admit({
      address: clientAddress({
        remoteAddress: request.socket.remoteAddress,
        forwardedFor: request.headers["x-forwarded-for"],
        trustedProxyHops: trustedProxies,
      }),
      origin: request.headers.origin,
      nowMs: nowMs(),
    });
  }

  /** Who says nothing is nobody, where nobody may come in. */
  async #verifyOrAdmit(token: string, userType: string): Promise<Principal | GatewayError> {
    const { anonymousApp } = this.#options;
    const isNobody = token === "" && userType === "" && anonymousApp !== undefined;
    return isNobody ? anonymousPrincipal(anonymousApp) : this.verify(token, userType);
  }

  /** The principal of a token, or why it is none. Never rejects. */
  async verify(token: string, userType: string): Promise<Principal | GatewayError> {
    const { verifier, trustUserType } = this.#options;
    try {
      const { principal } = await verifier.verify(token);
      return checkUserType(principal, userType, { trustUserType });
    } catch (thrown) {
      return toGatewayError(thrown);
    }
  }

  #connected(
    parts: Pick<
      ConnectionOptions,
      "websocket" | "socket" | "slot" | "announcedResume" | "announcedFollowOwn"
    >,
  ): Connection {
    const { counters, slow, backlogged, nowMs, firstFrameDeadlineMs } = this.#options;
    const openedAtMs = nowMs();
    const lifetimeMs = this.#options.maxConnectionLifetimeMs;
    const connection = new Connection({
      ...parts,
      framing: SUBPROTOCOLS.get(parts.websocket.protocol) ?? Framing.FRAMING_JSON,
      connectionId: randomUUID(),
      openedAtMs,
      livesUntilMs: livesUntil({ nowMs: openedAtMs, lifetimeMs, random: Math.random() }),
      firstFrameDeadlineMs,
      listener: this.#listener,
      writer: { turn: this.#turn, limits: slow, counters, backlogged },
    });
    this.connections.add(connection);
    counters.connectionsOpened += 1;
    return connection;
  }

  #open(connection: Connection, verified: Principal | GatewayError, said: Said): void {
    if (verified instanceof GatewayError) {
      this.countRefused(verified);
      connection.refuse(verified, ERROR_KINDS[verified.kind].closeCode, said.replyTo);
      return;
    }
    connection.slot.opened();
    this.#options.opened(connection, { ...said, principal: verified });
  }
}

/** Whoever holds a socket between HTTP and WebSocket must hear its errors, or they end the process. */
function destroyed(this: Duplex): void {
  this.destroy();
}

function rateRefusal({ reason, status, retryAfterMs }: Refusal): CountedRefusal {
  if (reason === "origin") {
    return { reason, status, code: "permission_denied", message: "this origin is not allowed" };
  }
  const message = "too many connections; try again later";
  return { reason, status, code: "rate_limited", message, retryAfterMs };
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
