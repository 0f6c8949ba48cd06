/**
 * An edge as a part of a process: made from configuration, with its HTTP port, its routes and its metrics,
 * and the stages in which it ends. The process around it is `main.ts`, or the gateway's.
 */
import type { Server } from "node:http";
import { Edge } from "#edge/edge.js";
import { OriginList } from "#edge/admission/origin.js";
import { JwtVerifier } from "#edge/auth/jwt-verifier.js";
import type { FanoutDiscovery } from "#edge/link/fanout-discovery.js";
import type { ConnectLink } from "#edge/link/link-pool.js";
import type { ProcessConfig, SocketConfig } from "#services/config/config.js";
import { edgeMetricsRoute } from "#services/http/edge-metrics-route.js";
import { healthRoutes, type DependencyReport } from "#services/http/health-routes.js";
import { socketsOnlyRoute } from "#services/http/sockets-only-route.js";
import { closeHttpServer, createHttpServer, listen } from "#services/http/http-server.js";
import { createRequestHandler } from "#services/http/request-handler.js";
import type { ShutdownStage } from "#services/lifecycle/shutdown.js";
import type { Logger } from "#services/logging/logger.js";
import { publishEdgeMetrics } from "#services/metrics/edge-metrics.js";
import type { Metrics } from "#services/metrics/metrics.js";
import { VERSION } from "#services/version.js";

export interface EdgePartOptions {
  readonly service: string;
  readonly process: ProcessConfig;
  readonly sockets: SocketConfig;
  readonly discovery: FanoutDiscovery;
  readonly connect: ConnectLink;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const SPARE_CONNECTIONS = 4096;

export class EdgePart {
  readonly edge: Edge;
  readonly #options: EdgePartOptions;
  readonly #server: Server;
  readonly #verifier: JwtVerifier;

  /** @throws Error that names the variable where keys or origins are unfit. */
  static async make(options: EdgePartOptions): Promise<EdgePart> {
    const verifier = await JwtVerifier.create(options.sockets.jwt, {
      onJwksLoadFailed: (error) =>
        options.logger.warn({ err: error }, "the token provider's keys could not be loaded"),
    });
    return new EdgePart(options, verifier);
  }

  private constructor(options: EdgePartOptions, verifier: JwtVerifier) {
    const { sockets, logger, service } = options;
    this.#options = options;
    this.#verifier = verifier;
    this.edge = new Edge({
      ...sockets,
      edgeId: options.process.serverId,
      version: VERSION,
      discovery: options.discovery,
      connect: options.connect,
      verifier,
      origins: new OriginList(sockets.allowedOrigins),
      logger,
    });
    publishEdgeMetrics(options.metrics, this.edge);
    const routes = [
      ...healthRoutes({
        service,
        version: VERSION,
        health: () => this.#health(),
        ready: () => ({ reasons: this.#unready() }),
      }),
      socketsOnlyRoute("/ws"),
      edgeMetricsRoute({
        report: () => ({
          connectedSockets: this.edge.health.connections,
          connections: { total: this.edge.counters.connectionsOpened, online: this.edge.health.connections },
          totalRooms: this.edge.health.groups,
        }),
      }),
    ];
    this.#server = createHttpServer(createRequestHandler(routes, logger), sockets.tls);
    // Beyond what admission lets in: handshakes that wait or are on their way, and whoever asks for health or metrics.
    const { maxConnections, maxWaitingHandshakes } = sockets.admission;
    this.#server.maxConnections = maxConnections + maxWaitingHandshakes + SPARE_CONNECTIONS;
    this.#server.on("upgrade", (request, socket, head) => this.edge.upgrade(request, socket, head));
  }

  /** Resolves with the port when sockets are welcome. */
  async start(): Promise<number> {
    this.edge.start();
    const { process, sockets } = this.#options;
    return listen(this.#server, { host: process.host, port: sockets.port, portVariable: "PORT" });
  }

  get stages(): readonly ShutdownStage[] {
    const { drainWindowMs } = this.#options.sockets;
    return [
      {
        name: "tell clients to reconnect",
        timeoutMs: drainWindowMs + 6000,
        run: () => this.edge.drain(drainWindowMs),
      },
      {
        name: "close the sockets",
        timeoutMs: 2000,
        run: async () => {
          this.edge.stop();
          this.#verifier.close();
          await closeHttpServer(this.#server, 500);
        },
      },
    ];
  }

  #unready(): string[] {
    const { health } = this.edge;
    const reasons: string[] = [];
    if (health.isDraining) reasons.push("draining");
    if (health.readyLinks === 0) reasons.push("no fanout can be reached");
    else if (!health.acceptsSessions) reasons.push("the store is away");
    return reasons;
  }

  #health() {
    const { health } = this.edge;
    return {
      connections: health.connections,
      onlineUsers: health.onlineUsers,
      redis: this.#dependency("redis"),
      eventBus: this.#dependency("kafka"),
    };
  }

  /** An edge has no store and no bus: it says what the fanouts told it. */
  #dependency(name: string): DependencyReport {
    const seen = this.edge.health.dependency(name);
    return {
      isConnected: seen?.isUp ?? false,
      reconnectAttempts: seen?.reconnectAttempts ?? 0,
      implementation: seen?.implementation ?? "unknown",
    };
  }
}
