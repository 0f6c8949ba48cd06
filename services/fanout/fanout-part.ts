/**
 * A fanout as a part of a process: made from configuration, with its stores, its API, its HTTP port and
 * its metrics, and the stages in which it ends. The process around it is `main.ts`, or the gateway's.
 */
import { ApiServer } from "#fanout/api/api-server.js";
import { withUserTtl } from "#fanout/channel/channel-kinds.js";
import { OutboxTopics } from "#fanout/channel/outbox-topics.js";
import { Fanout } from "#fanout/fanout.js";
import type { LogicConfig, ProcessConfig } from "#services/config/config.js";
import { healthRoutes } from "#services/http/health-routes.js";
import { startHttpServer, type RunningHttpServer } from "#services/http/http-server.js";
import type { ShutdownStage } from "#services/lifecycle/shutdown.js";
import type { Logger } from "#services/logging/logger.js";
import { publishFanoutMetrics } from "#services/metrics/fanout-metrics.js";
import type { Metrics } from "#services/metrics/metrics.js";
import { VERSION } from "#services/version.js";
import { openEvents, type OpenEvents } from "./events.js";
import { openStores, type OpenStores } from "./stores.js";
import { testHandlers } from "./test-handlers.js";

export interface FanoutPartOptions {
  readonly service: string;
  readonly process: ProcessConfig;
  readonly logic: LogicConfig;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A fanout ends within 10 s of its SIGTERM. */
const DRAIN_MS = 6000;
const DEFAULT_TOPIC = "porter-events";

export class FanoutPart {
  readonly fanout: Fanout;
  readonly api: ApiServer;
  readonly #options: FanoutPartOptions;
  readonly #stores: OpenStores;
  readonly #events: OpenEvents;
  #http: RunningHttpServer | undefined;
  #isDraining = false;

  /** @throws Error that names the variable where a configured store cannot be used. */
  static async make(options: FanoutPartOptions): Promise<FanoutPart> {
    return new FanoutPart(options, await openStores(options.logic, options.logger));
  }

  private constructor(options: FanoutPartOptions, stores: OpenStores) {
    const { logic, logger, metrics } = options;
    this.#options = options;
    this.#stores = stores;
    this.#events = openEvents(logic, logger);
    this.fanout = new Fanout({
      fanoutId: options.process.serverId,
      version: VERSION,
      stores: stores.stores,
      eventSink: this.#events.sink,
      ...(this.#events.source && { eventSource: this.#events.source }),
      ...(stores.outbox && { outbox: stores.outbox }),
      locationSampleEvery: logic.locationSampleEvery,
      locationTopic: logic.kafka?.topics.porters ?? DEFAULT_TOPIC,
      locationLimits: logic.locationLimits,
      outboxTopics: new OutboxTopics(logic.outbox),
      rateLimits: logic.rateLimits,
      presence: logic.presence,
      chat: logic.chat,
      notifications: logic.notifications,
      channelKinds: withUserTtl(logic.userChannelTtlMs),
      tokens: logic.tokens,
      merchantClaim: logic.merchantClaim,
      sessionLimit: logic.sessionLimit,
      revocationLog: this.#events.revocationLog,
      dependencies: () => [stores.dependency(), this.#events.dependency()],
      ...(options.process.testHooks && { testHandlers }),
      logger,
    });
    stores.onChange(() => this.fanout.dependenciesChanged());
    const { api } = logic;
    this.api = new ApiServer({
      host: api.host,
      port: api.port,
      ...(api.tls && { tls: api.tls }),
      serviceTokens: api.serviceTokens,
      reflection: api.reflection,
      logger,
      deps: {
        ...stores.stores,
        sessions: stores.stores.registry,
        revocations: this.fanout.tokens.revocations,
        publisher: this.fanout.publisher,
        participations: this.fanout.participations,
        offers: this.fanout.offers.desk,
        chat: this.fanout.chat,
      },
    });
    publishFanoutMetrics(metrics, { fanout: this.fanout, api: this.api, events: this.#events, stores });
  }

  /**
   * Resolves when the API and HTTP ports answer. Events are consumed as soon as this process has joined its group,
   * which may wait for a member that died; edges and callers do not wait for that, and `/ready` says so meanwhile.
   */
  async start(): Promise<{ apiPort: number; httpPort: number }> {
    const { process, logic, logger, service } = this.#options;
    await this.#events.start();
    // Where joining fails for good, the rejection ends the process, as any that nobody handles.
    void this.fanout.start();
    // A process that only consumes takes no calls, as it takes no links.
    const { port } = logic.roles.has("serve") ? await this.api.start() : { port: 0 };
    this.#http = await startHttpServer({
      host: process.host,
      port: logic.httpPort,
      portVariable: "HTTP_PORT",
      logger,
      routes: healthRoutes({
        service,
        version: VERSION,
        health: () => this.#health(),
        ready: () => ({ reasons: this.#unready() }),
      }),
    });
    return { apiPort: port, httpPort: this.#http.port };
  }

  get stages(): readonly ShutdownStage[] {
    return [
      {
        name: "take sessions elsewhere",
        timeoutMs: DRAIN_MS + 500,
        run: async () => {
          this.#isDraining = true;
          this.api.drain();
          await this.fanout.drain(DRAIN_MS);
        },
      },
      {
        name: "finish calls and events",
        timeoutMs: 2000,
        run: async () => {
          await Promise.all([this.api.stop(1000), this.fanout.stop(), this.#http?.close(500)]);
        },
      },
      { name: "close the stores", timeoutMs: 500, run: () => this.#stores.close() },
    ];
  }

  #unready(): string[] {
    const reasons: string[] = [];
    if (this.#isDraining) reasons.push("draining");
    if (!this.#stores.dependency().up) reasons.push("redis is away");
    if (!this.#events.dependency().up) reasons.push("kafka is away");
    return reasons;
  }

  #health() {
    const report = ({ up, reconnectAttempts, implementation }: ReturnType<OpenStores["dependency"]>) => ({
      isConnected: up,
      reconnectAttempts,
      implementation,
    });
    return {
      connections: this.fanout.sessions,
      onlineUsers: this.fanout.onlineUsers,
      redis: report(this.#stores.dependency()),
      eventBus: report(this.#events.dependency()),
    };
  }
}
