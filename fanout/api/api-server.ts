/**
 * The gRPC server that backend services call: it puts the services of `realtime.api.v1`, health and, in
 * development, reflection behind one gate, and starts and stops. What a call does is in the services.
 */
import { Server, type ServerOptions } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import type { Broker } from "#fanout/channel/broker.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { ChatPart } from "#fanout/chat/chat-part.js";
import { ChatService } from "#fanout/chat/chat-service.js";
import { NotificationService } from "#fanout/notification/notification-service.js";
import type { Directory } from "#fanout/directory/directory.js";
import type { Participations } from "#fanout/directory/participations.js";
import type { Locations } from "#fanout/location/locations.js";
import type { OfferDesk } from "#fanout/offer/offer-desk.js";
import type { Revocations } from "#fanout/revocation/revocations.js";
import type { PresenceStore } from "#fanout/presence/presence-store.js";
import type { SessionRegistry } from "#fanout/session/session-registry.js";
import type { StoreClock } from "#fanout/store-clock.js";
import { ApiAccess, type ApiTls } from "./api-access.js";
import { ApiCounters } from "./api-counters.js";
import { ApiGate } from "./api-gate.js";
import { DEFAULT_API_LIMITS, type ApiLimits } from "./api-limits.js";
import type { Logger } from "../fanout-logger.js";
import { makeReflection } from "./api-reflection.js";
import { ConnectionService } from "./connection-service.js";
import { LocationService } from "./location-service.js";
import { OpenStreams } from "./open-streams.js";
import { OfferService } from "./offer-service.js";
import { ParticipationService } from "./participation-service.js";
import { PresenceService } from "./presence-service.js";
import { PublishService } from "./publish-service.js";
import { RevocationService } from "./revocation-service.js";

export interface ApiServerDependencies {
  readonly publisher: Publisher;
  readonly participations: Participations;
  readonly directory: Directory;
  readonly sessions: SessionRegistry;
  readonly revocations: Pick<Revocations, "revoke" | "list">;
  readonly broker: Broker;
  readonly offers: OfferDesk;
  readonly chat: ChatPart;
  readonly presence: PresenceStore;
  readonly locations: Locations;
  readonly clock: StoreClock;
}

export interface ApiServerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly tls?: ApiTls;
  /** Any of them is accepted. None, and no client CA: loopback only. */
  readonly serviceTokens: readonly string[];
  /** For development. */
  readonly reflection: boolean;
  readonly logger: Logger;
  readonly limits?: Partial<ApiLimits>;
  readonly deps: ApiServerDependencies;
}

/** The names under which the health service answers; "" is the server as a whole. */
const HEALTH_NAMES = [
  "",
  "realtime.api.v1.PublishService",
  "realtime.api.v1.ParticipationService",
  "realtime.api.v1.ConnectionService",
  "realtime.api.v1.RevocationService",
  "realtime.api.v1.OfferService",
  "realtime.api.v1.PresenceService",
  "realtime.api.v1.LocationService",
  "realtime.api.v1.ChatService",
  "realtime.api.v1.NotificationService",
];

export class ApiServer {
  readonly counters = new ApiCounters();
  readonly #options: ApiServerOptions;
  readonly #access: ApiAccess;
  readonly #gate: ApiGate;
  readonly #server: Server;
  readonly #streams = new OpenStreams();
  readonly #health = new HealthImplementation();
  #stopping: Promise<void> | undefined;

  /** @throws Error naming API_TOKENS where others than this machine could call without credentials. */
  constructor(options: ApiServerOptions) {
    this.#options = options;
    const limits = { ...DEFAULT_API_LIMITS, ...options.limits };
    const { logger, deps } = options;
    this.#access = new ApiAccess(options);
    this.#gate = new ApiGate({ access: this.#access, counters: this.counters, limits, logger });
    this.#server = new Server({ ...transportOptions(limits), interceptors: [this.#gate.intercept] });
    const services = [
      new PublishService({ publisher: deps.publisher, clock: deps.clock, counters: this.counters }),
      new ParticipationService(deps),
      new ConnectionService(deps),
      new RevocationService(deps),
      new OfferService(deps),
      new PresenceService(deps),
      new LocationService(deps),
      new ChatService(deps),
      new NotificationService({ publisher: deps.publisher, clock: deps.clock, counters: this.counters }),
    ];
    for (const method of services.flatMap(({ methods }) => methods)) {
      method(this.#server, { logger, maxCallMs: limits.maxCallMs, streams: this.#streams });
    }
    this.#health.addToServer(this.#server);
    if (options.reflection) makeReflection().addToServer(this.#server);
    this.setServing(true);
  }

  /** Who may call, in words for the start-up banner. */
  describeAccess(): string {
    return this.#access.describe();
  }

  /** Calls being served now, health calls among them. */
  get callsInFlight(): number {
    return this.#gate.callsInFlight;
  }

  /** Streams of publishes that are open now. */
  get openStreams(): number {
    return this.#streams.size;
  }

  /** Items that were read from them and are not answered. */
  get streamedItems(): number {
    return this.#streams.itemsInHand;
  }

  async start(): Promise<{ port: number }> {
    const { host, port } = this.#options;
    const address = `${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`;
    const bound = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, this.#access.credentials, (error, boundPort) => {
        if (error === null) resolve(boundPort);
        else reject(new Error(`API_PORT: cannot listen on ${address}: ${error.message}`, { cause: error }));
      });
    });
    this.#options.logger.info({ host, port: bound, access: this.describeAccess() }, "the api is served");
    return { port: bound };
  }

  /** What the health service says; calls are served either way. */
  setServing(serving: boolean): void {
    for (const name of HEALTH_NAMES) this.#health.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
  }

  /** Sends callers elsewhere: streams end when what was read from them is answered. Single calls are still served. */
  drain(): void {
    this.setServing(false);
    this.#streams.drain();
  }

  /** Takes no new calls, lets those in hand finish for so long, then cuts what is left. */
  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<void> {
    this.drain();
    await new Promise<void>((resolve) => {
      const cut = setTimeout(() => {
        this.#options.logger.warn(
          { callsInFlight: this.callsInFlight },
          "api calls were cut by the shutdown",
        );
        this.#server.forceShutdown();
        resolve();
      }, graceMs);
      this.#server.tryShutdown(() => {
        clearTimeout(cut);
        resolve();
      });
      this.#gate.endStreams();
    });
  }
}

function transportOptions(limits: ApiLimits): ServerOptions {
  return {
    "grpc.max_receive_message_length": limits.maxMessageBytes,
    "grpc.max_concurrent_streams": limits.maxStreamsPerConnection,
    "grpc.keepalive_time_ms": limits.keepaliveTimeMs,
    "grpc.keepalive_timeout_ms": limits.keepaliveTimeoutMs,
    "grpc.keepalive_permit_without_calls": 1,
  };
}
