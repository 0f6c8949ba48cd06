/**
 * A gateway as it runs in production, for e2e tests: edges and fanouts as separate processes on the shared
 * real Redis and Kafka, with an app, topics and a consumer group of their own, so that test files do not
 * meet. Everything that it starts ends with `stop`.
 */
import { randomBytes } from "node:crypto";
import { credentials } from "@grpc/grpc-js";
import { inject } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { signToken } from "#services/token/sign-token.js";
import { ApiClient, type Json } from "#test/contract/api-client.js";
import { AppClient, type AppClientOptions } from "#test/support/app-client.js";
import { freePorts } from "#test/support/free-port.js";
import { startService, type RunningService } from "#test/support/process.js";
import { RAISED_RATE_LIMIT_VARIABLES } from "#test/support/raised-limits.js";
import { TcpProxy } from "#test/support/tcp-proxy.js";
import { waitFor } from "#test/support/wait-for.js";

export interface ClusterOptions {
  readonly edges?: number;
  readonly fanouts?: number;
  /** Further variables of every process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly redisUrl?: string;
  /** The variables that say where Redis is, instead of a URL: Sentinel or Cluster. */
  readonly redis?: Readonly<Record<string, string>>;
  /** Edges reach each fanout through a proxy: `links`. */
  readonly proxiedLinks?: boolean;
  readonly kafkaBrokers?: string;
}

export interface Topics {
  readonly orders: string;
  readonly porters: string;
  readonly notifications: string;
  readonly revocations: string;
}

const LINK_TOKEN = "the-link-token-of-the-tests-0123456789";
const API_TOKEN = "the-service-token-of-the-tests-0123456789";

export class Cluster {
  readonly app = `app-${randomBytes(4).toString("hex")}`;
  readonly jwtSecret = randomBytes(32).toString("hex");
  readonly topics: Topics;
  readonly edges: RunningService[] = [];
  readonly fanouts: RunningService[] = [];
  /** With `proxiedLinks`: what stands between the edges and the fanout of the same number. */
  readonly links: TcpProxy[] = [];
  readonly #consumers: RunningService[] = [];
  readonly #clients: AppClient[] = [];
  readonly #apis: ApiClient[] = [];
  readonly #env: Record<string, string>;
  /** The ports that edges look for fanouts at; some may have no fanout yet. */
  readonly #linkPorts: number[] = [];

  private constructor(options: ClusterOptions) {
    this.topics = {
      orders: `order-events-${this.app}`,
      porters: `porter-events-${this.app}`,
      notifications: `notification-events-${this.app}`,
      revocations: `revocation-events-${this.app}`,
    };
    this.#env = {
      HOST: "127.0.0.1",
      LOG_LEVEL: "info",
      ...(options.redis ?? { REDIS_URL: options.redisUrl ?? inject("redisUrl") }),
      KAFKA_BROKERS: options.kafkaBrokers ?? inject("kafkaBrokers"),
      KAFKA_GROUP_ID: `group-${this.app}`,
      KAFKA_ORDER_TOPIC: this.topics.orders,
      KAFKA_PORTER_TOPIC: this.topics.porters,
      KAFKA_NOTIFICATION_TOPIC: this.topics.notifications,
      KAFKA_REVOCATION_TOPIC: this.topics.revocations,
      JWT_SOCKET_SECRET: this.jwtSecret,
      LINK_TOKEN,
      API_TOKENS: API_TOKEN,
      DRAIN_WINDOW: "2s",
      ...RAISED_RATE_LIMIT_VARIABLES,
      ...options.env,
    };
  }

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options);
    try {
      const fanouts = options.fanouts ?? 2;
      const ports = await freePorts(...Array.from({ length: fanouts }, (_, index) => `link-${index}`));
      cluster.#linkPorts.push(...Object.values(ports));
      if (options.proxiedLinks === true) {
        for (const port of cluster.#linkPorts) cluster.links.push(await TcpProxy.start({ port }));
      }
      await Promise.all(Array.from({ length: fanouts }, (_, index) => cluster.startFanout(index)));
      await Promise.all(Array.from({ length: options.edges ?? 2 }, (_, index) => cluster.startEdge(index)));
      await waitFor(async () => (await cluster.readyLinks()).every((links) => links === fanouts), {
        what: "a link from every edge to every fanout",
        timeoutMs: 15_000,
      });
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /**
   * Starts the fanout of this number, again where it has ended. Its name is the same every time; with a
   * `folder` it is the build of another checkout.
   */
  async startFanout(
    index: number,
    env: Readonly<Record<string, string>> = {},
    folder?: string,
  ): Promise<RunningService> {
    const port = this.#linkPorts[index];
    if (port === undefined) throw new Error(`edges look for no fanout ${index}`);
    const fanout = await startService("fanout", {
      env: { ...this.#env, SERVER_ID: `fanout-${index}`, LINK_PORT: String(port), ...env },
      timeoutMs: 60_000,
      ...(folder !== undefined && { folder }),
    });
    this.fanouts[index] = fanout;
    return fanout;
  }

  /** Starts a fanout that only consumes: no edge looks for it, and none needs to. */
  async startConsumer(name: string): Promise<RunningService> {
    const consumer = await startService("fanout", {
      env: { ...this.#env, SERVER_ID: name, FANOUT_ROLES: "consume" },
      timeoutMs: 60_000,
    });
    this.#consumers.push(consumer);
    return consumer;
  }

  async startEdge(index: number, env: Readonly<Record<string, string>> = {}): Promise<RunningService> {
    const ports = this.#linkPorts.map((port, fanout) => this.links[fanout]?.port ?? port);
    const addresses = ports.map((port) => `127.0.0.1:${port}`).join(",");
    const edge = await startService("edge", {
      env: { ...this.#env, SERVER_ID: `edge-${index}`, FANOUT_ADDRS: addresses, ...env },
      timeoutMs: 60_000,
    });
    this.edges[index] = edge;
    return edge;
  }

  token(userId: string, role: string, ttlSeconds = 3600): Promise<string> {
    const options = { ...DEFAULT_JWT_OPTIONS, secret: this.jwtSecret };
    return signToken({ sub: userId, role, app: this.app, ttlSeconds }, options);
  }

  socketUrl(edge: number): string {
    return `ws://127.0.0.1:${this.#edge(edge).port("PORT")}/ws`;
  }

  /** A user's app on an edge, its session open. */
  async connect(
    edge: number,
    userId: string,
    role: string,
    options: Partial<AppClientOptions> = {},
  ): Promise<AppClient> {
    const client = await AppClient.connect({
      url: this.socketUrl(edge),
      token: await this.token(userId, role),
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  /** A backend service made with proto-loader, on a fanout. */
  api(fanout = 0): ApiClient {
    const address = `127.0.0.1:${this.#fanout(fanout).port("API_PORT")}`;
    const api = new ApiClient({ address, credentials: credentials.createInsecure(), token: API_TOKEN });
    this.#apis.push(api);
    return api;
  }

  /** Lets users take part in an order. */
  async grant(
    orderId: string,
    parts: Readonly<Record<string, "OWNER" | "ASSIGNED" | "MEMBER">>,
  ): Promise<void> {
    const participations = Object.entries(parts).map(([userId, relation]): Json => ({
      app: this.app,
      channel: `order:${orderId}`,
      user_id: userId,
      relation: `RELATION_${relation}`,
    }));
    const api = this.api();
    const { response } = await api.call("ParticipationService", "Grant", { participations });
    const results = response["results"] as readonly { error: unknown }[];
    const failed = results.filter(({ error }) => error !== null);
    if (failed.length > 0) throw new Error(`granting failed: ${JSON.stringify(failed)}`);
  }

  /** A number out of Prometheus metrics, summed over its series; 0 where it is missing. */
  async metric(service: RunningService, name: string): Promise<number> {
    const response = await fetch(service.url("METRICS_PORT", "/metrics"));
    let sum = 0;
    for (const line of (await response.text()).split("\n")) {
      if (line.startsWith(`${name} `) || line.startsWith(`${name}{`))
        sum += Number(line.slice(line.lastIndexOf(" ")));
    }
    return sum;
  }

  /** How many fanouts each edge has a ready link to. */
  readyLinks(): Promise<number[]> {
    return Promise.all(this.edges.map((edge) => this.metric(edge, "realtime_edge_ready_links")));
  }

  async stop(): Promise<void> {
    for (const api of this.#apis) api.close();
    for (const client of this.#clients) client.websocket.terminate();
    // One that did not start leaves a hole, which Object.values passes over.
    const services = [this.edges, this.fanouts, this.#consumers].flatMap((each) => Object.values(each));
    await Promise.allSettled(services.map((service) => service.kill()));
    await Promise.all(this.links.map((link) => link.close()));
  }

  #edge(index: number): RunningService {
    const edge = this.edges[index];
    if (edge === undefined) throw new Error(`there is no edge ${index}`);
    return edge;
  }

  #fanout(index: number): RunningService {
    const fanout = this.fanouts[index];
    if (fanout === undefined) throw new Error(`there is no fanout ${index}`);
    return fanout;
  }
}
