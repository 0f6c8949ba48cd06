/**
 * An edge: holds sockets and forwards their frames over links; it knows no channel, permission or business
 * rule. This file puts its parts together and owns its clockwork; `services/edge` gives it a process.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { encodeServerFrame } from "#proto/frame-codec.js";
import { GatewayError } from "#proto/errors.js";
import { PROCESS_PACE } from "#proto/flush-pace.js";
import type { VerifyToken } from "#proto/gen/realtime/link/v1/link.js";
import { Admission, type AdmissionLimits } from "./admission/admission.js";
import type { OriginList } from "./admission/origin.js";
import type { TokenVerifier } from "./auth/token-verifier.js";
import { drain } from "./drain.js";
import { EdgeCounters } from "./edge-counters.js";
import type { Logger } from "./edge-logger.js";
import { EdgeHealth } from "./edge-health.js";
import { frameId } from "./frame-id.js";
import { Lifetimes } from "./lifetimes.js";
import { Homing } from "./home/homing.js";
import type { FanoutDiscovery } from "./link/fanout-discovery.js";
import { LinkPool, type ConnectLink } from "./link/link-pool.js";
import type { EdgeLink, LinkedSession } from "./link/edge-link.js";
import { EdgeSession, type UnansweredFrame } from "./session/edge-session.js";
import type { Connection } from "./socket/connection.js";
import { HEARTBEAT_SLOTS, HeartbeatSweep } from "./socket/heartbeat.js";
import { QueueBudget } from "./socket/queue-budget.js";
import { SocketServer, type Opening } from "./socket/socket-server.js";
import type { SlowSocketLimits } from "./socket/socket-writer.js";
import type { UpgradeRefusal } from "./socket/upgrade-refusal.js";
import { StoreTime } from "./store-time.js";
import { TokenExpiry } from "./token-expiry.js";

export interface EdgeOptions {
  /** The edge's stable name; told to clients as `server_id`. */
  readonly edgeId: string;
  readonly version: string;
  readonly discovery: FanoutDiscovery;
  readonly connect: ConnectLink;
  readonly verifier: TokenVerifier;
  readonly origins: OriginList;
  readonly admission: Partial<AdmissionLimits>;
  readonly maxPayloadBytes: number;
  readonly maxFragments: number;
  readonly firstFrameDeadlineMs: number;
  readonly heartbeatIntervalMs: number;
  /** 0: connections live for as long as both sides want. */
  readonly maxConnectionLifetimeMs: number;
  readonly slow: SlowSocketLimits;
  readonly maxQueuedBytes: number;
  readonly trustedProxies: number;
  readonly trustUserType: boolean;
  /** The app of sessions without a token; absent: everybody needs one. */
  readonly anonymousApp?: string | undefined;
  /** So long before its token ends a socket is warned; 0: not at all. Default: 5 minutes. */
  readonly tokenExpiryWarningMs?: number;
  readonly logger: Logger;
}

const TICK_MS = 1000;
const BUDGET_CHECK_MS = 250;
const RETRY_AFTER_MS = 2000;
const DEFAULT_TOKEN_EXPIRY_WARNING_MS = 300_000;

export class Edge {
  readonly counters = new EdgeCounters();
  readonly health: EdgeHealth;
  readonly #options: EdgeOptions;
  readonly #sockets: SocketServer;
  readonly #admission: Admission;
  readonly #links: LinkPool;
  readonly #homing: Homing;
  readonly #budget: QueueBudget;
  readonly #heartbeats = new HeartbeatSweep<Connection>();
  readonly #lifetimes = new Lifetimes(steadyMs);
  readonly #expiry: TokenExpiry;
  readonly #sessions = new Set<LinkedSession>();
  readonly #clock = new StoreTime(steadyMs);
  readonly #timers: NodeJS.Timeout[] = [];
  #nextSession = 1;
  #isDraining = false;

  constructor(options: EdgeOptions) {
    this.#options = options;
    const { counters, logger } = { counters: this.counters, logger: options.logger };
    this.#budget = new QueueBudget(options.maxQueuedBytes);
    this.#expiry = new TokenExpiry({
      warningMs: options.tokenExpiryWarningMs ?? DEFAULT_TOKEN_EXPIRY_WARNING_MS,
      counters,
      nowMs: Date.now,
    });
    this.#homing = new Homing({
      readyLinks: () => this.#links.ready(),
      counters,
      logger,
      nowMs: steadyMs,
      refusePoison,
    });
    this.#links = new LinkPool({
      discovery: options.discovery,
      connect: options.connect,
      edgeId: options.edgeId,
      incarnation: randomUUID(),
      version: options.version,
      counters,
      logger,
      nowMs: steadyMs,
      clock: this.#clock,
      pace: PROCESS_PACE,
      listener: {
        ready: (link) => this.#homing.linkReady(link, this.#sessions),
        draining: (link) => this.#homing.linkDraining(link),
        verify: (link, session, request) => void this.#verify(link, session, request),
        refreshed: (session, { expiresAt }) => {
          if (this.#sessions.has(session)) this.#expiry.watch(session, expiresAt * 1000);
        },
        released: (_link, session) => this.#homing.released(session),
        ended: (link, end) => this.#homing.linkEnded(link, end),
      },
    });
    this.#admission = new Admission({ origins: options.origins, limits: options.admission });
    this.#sockets = new SocketServer({
      ...options,
      admission: this.#admission,
      counters,
      backlogged: this.#budget.backlogged,
      nowMs: steadyMs,
      refusal: () => this.#refusal(),
      opened: (connection, opening) => this.#opened(connection, opening),
      listener: {
        authenticate: (connection, request, id) => void this.#sockets.authenticate(connection, request, id),
        frame: (session, payload) => this.#received(session, payload),
        pong: (session, ping) => this.#ponged(session, ping),
        lifetimeOver: (connection) => {
          // A draining edge has told everybody already, each with a time of their own.
          if (!this.#isDraining) this.#lifetimes.end(connection);
        },
        closed: (connection, session, reason) => this.#closed(connection, session, reason),
      },
    });
    this.health = new EdgeHealth({
      links: () => this.#links.all(),
      connections: () => this.#sockets.connections.size,
      isDraining: () => this.#isDraining,
    });
  }

  /** Handshakes refused for limits, by reason. */
  get refusals(): Readonly<Record<string, number>> {
    return this.#admission.refusals;
  }

  /** Handshakes that wait for their turn. */
  get waitingHandshakes(): number {
    return this.#admission.waiting;
  }

  get queuedBytes(): number {
    return this.#budget.queuedBytes;
  }

  get homelessSessions(): number {
    return this.#homing.homelessSessions;
  }

  get linkQueuedBytes(): number {
    let sum = 0;
    for (const link of this.#links.all()) sum += link.queuedBytes;
    return sum;
  }

  start(): void {
    this.#links.start();
    const { heartbeatIntervalMs } = this.#options;
    this.#every(TICK_MS, () => this.#links.tick(this.#sockets.connections.size));
    this.#every(BUDGET_CHECK_MS, () => this.#budget.check());
    this.#every(heartbeatIntervalMs / HEARTBEAT_SLOTS, () => this.#heartbeats.step(steadyMs()));
  }

  /** For the HTTP server's `upgrade` event. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#sockets.upgrade(request, socket, head);
  }

  /** Takes no new sockets from now on, those that wait for their turn included: `/ready` says no. */
  stopAccepting(): void {
    this.#isDraining = true;
    this.#sockets.refuseWaiting();
  }

  /** Tells all sockets to reconnect, spread over the window, and closes them. */
  async drain(windowMs: number): Promise<void> {
    this.stopAccepting();
    await drain({ windowMs, connections: this.#sockets.connections });
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.stopAccepting();
    this.#lifetimes.stop();
    this.#expiry.stop();
    for (const connection of [...this.#sockets.connections]) connection.terminate();
    this.#homing.stop();
    this.#links.stop();
  }

  #refusal(): UpgradeRefusal | undefined {
    if (this.#isDraining) return unavailable("this edge is being replaced; connect again");
    if (!this.#homing.hasHome) return unavailable("no fanout can be reached; try again");
    if (!this.health.acceptsSessions) return unavailable("the store is away; try again");
    return undefined;
  }

  #opened(connection: Connection, opening: Opening): void {
    const session: LinkedSession = new EdgeSession({
      number: this.#nextSession,
      principal: opening.principal,
      framing: connection.framing,
      connectionId: connection.connectionId,
      deviceId: opening.deviceId,
      platform: opening.platform,
      replyTo: opening.replyTo,
      traceparent: opening.traceparent,
      awaitsResume: opening.awaitsResume,
      followOwn: opening.followOwn,
      heartbeatIntervalMs: this.#options.heartbeatIntervalMs,
      socket: connection,
    });
    this.#nextSession += 1;
    this.#sessions.add(session);
    this.#heartbeats.add(connection);
    this.#homing.place(session);
    this.#expiry.watch(session, opening.principal.expiresAt * 1000);
    if (!connection.opened(session)) this.#forget(connection, session, "client");
  }

  /** Never rejects. What the token is worth to the session is its home's to say. */
  async #verify(link: EdgeLink, session: LinkedSession, request: VerifyToken): Promise<void> {
    const verified = await this.#sockets.verify(request.token, request.userType);
    const isRefused = verified instanceof GatewayError;
    if (isRefused) this.#sockets.countRefused(verified);
    link.verified({
      session: session.number,
      upSequence: request.upSequence,
      result: isRefused
        ? { $case: "error", value: verified.toMessage() }
        : { $case: "principal", value: verified },
    });
  }

  #received(session: LinkedSession, payload: Uint8Array): void {
    this.counters.framesReceived += 1;
    this.counters.bytesReceived += payload.length;
    const frame = session.take(payload, this.#clock.nowUs());
    if (session.home.at === "link") session.home.link.frame(session, frame);
  }

  #ponged(session: LinkedSession, ping: number): void {
    if (session.home.at !== "link") return;
    const positions = session.confirmed.ponged(ping);
    if (positions !== undefined) session.home.link.confirm(session, positions);
  }

  #closed(connection: Connection, session: LinkedSession | undefined, reason: string): void {
    if (session !== undefined) this.#forget(connection, session, reason);
  }

  #forget(connection: Connection, session: LinkedSession, reason: string): void {
    this.#sessions.delete(session);
    this.#heartbeats.remove(connection);
    this.#expiry.forget(session);
    this.#homing.remove(session, reason);
  }

  #every(intervalMs: number, run: () => void): void {
    const timer = setInterval(run, intervalMs);
    timer.unref();
    this.#timers.push(timer);
  }
}

/** The time of day that does not jump when somebody sets the clock: for what lasts and for what is stamped. */
function steadyMs(): number {
  return performance.timeOrigin + performance.now();
}

function unavailable(message: string): UpgradeRefusal {
  return { status: 503, code: "unavailable", message, retryAfterMs: RETRY_AFTER_MS };
}

/** A frame that was in flight when two fanouts died is answered here, and no fanout sees it again. */
function refusePoison(session: LinkedSession, frame: UnansweredFrame): void {
  const error = new GatewayError("internal", "the frame could not be dealt with; do not send it again");
  const payload = encodeServerFrame(session.framing, {
    replyTo: frameId(session.framing, frame.payload),
    body: { $case: "error", value: error.toMessage() },
  });
  session.socket.writer.write(session.socket.frame(payload));
}
