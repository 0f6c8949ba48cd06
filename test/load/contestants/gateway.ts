/**
 * The gateway as it ships: edges and fanouts as processes of their own, as the image starts them, and a Redis;
 * with tokens, permissions, limits, metrics and history on. Its two native framings are two contestants.
 */
import { startRedis } from "#test/support/redis.js";
import { freePorts } from "#test/support/free-port.js";
import { startService, type RunningService } from "#test/support/process.js";
import { waitFor } from "#test/support/wait-for.js";
import type {
  BackendEvent,
  ClientPlan,
  Contestant,
  ContestantOptions,
  ContestantProcess,
  Dialect,
  Endpoint,
  RunningContestant,
} from "../contestant.js";
import { GatewayBackend } from "./gateway-backend.js";
import { GatewayEnvironment, type Topics } from "./gateway-environment.js";
import { StartedParts } from "./started-parts.js";
import { UserTokens } from "./user-tokens.js";

export type Framing = "protobuf" | "json";

const NAMES = { protobuf: "gateway (protobuf)", json: "gateway (JSON)" } as const;
const DIALECTS = { protobuf: "gateway-protobuf", json: "gateway-json" } as const;

const EDGES = 2;
const FANOUTS = 2;
const START_TIMEOUT_MS = 60_000;

export const gatewayProtobuf: Contestant = gateway("protobuf");
export const gatewayJson: Contestant = gateway("json");

function gateway(framing: Framing): Contestant {
  return { name: NAMES[framing], start: (options) => startGateway({ ...options, framing }) };
}

export interface GatewayOptions extends ContestantOptions {
  readonly framing: Framing;
}

export async function startGateway(options: GatewayOptions): Promise<RunningGateway> {
  const parts = new StartedParts();
  try {
    return await start(options, parts);
  } catch (error) {
    await parts.stop();
    throw error;
  }
}

async function start(options: GatewayOptions, parts: StartedParts): Promise<RunningGateway> {
  const { framing, edges = EDGES, fanouts = FANOUTS, kafkaBrokers, env } = options;
  const environment = new GatewayEnvironment();
  const tokens = new UserTokens(environment.app);
  const redis = parts.add(await startRedis(), (each) => each.kill());
  const given = { redisUrl: redis.url, jwtSecret: tokens.secret, kafkaBrokers, env };
  const variables = environment.variables(given);
  const ports = Object.values(await freePorts(...indices(fanouts).map((index) => `link-${index}`)));
  const startPart = (name: "edge" | "fanout", own: Readonly<Record<string, string>>) =>
    startService(name, { env: { ...variables, ...own }, timeoutMs: START_TIMEOUT_MS });
  const kill = (service: RunningService) => service.kill();
  const runningFanouts = await parts.addAll(
    ports.map((port, index) =>
      startPart("fanout", { SERVER_ID: `fanout-${index}`, LINK_PORT: String(port) }),
    ),
    kill,
  );
  const addresses = ports.map((port) => `127.0.0.1:${port}`).join(",");
  const runningEdges = await parts.addAll(
    indices(edges).map((index) => startPart("edge", { SERVER_ID: `edge-${index}`, FANOUT_ADDRS: addresses })),
    kill,
  );
  await untilLinked(runningEdges, fanouts);
  const backend = new GatewayBackend({
    app: environment.app,
    token: environment.apiToken,
    addresses: runningFanouts.map((fanout) => `127.0.0.1:${fanout.port("API_PORT")}`),
  });
  parts.add(backend, async (each) => each.close());
  return new RunningGateway({
    framing,
    environment,
    tokens,
    backend,
    parts,
    edges: runningEdges,
    fanouts: runningFanouts,
    redis: { role: "redis", pid: redis.pid },
  });
}

interface GatewayParts {
  readonly framing: Framing;
  readonly environment: GatewayEnvironment;
  readonly tokens: UserTokens;
  readonly backend: GatewayBackend;
  readonly parts: StartedParts;
  readonly edges: readonly RunningService[];
  readonly fanouts: readonly RunningService[];
  readonly redis: ContestantProcess;
}

export class RunningGateway implements RunningContestant {
  readonly name: string;
  readonly dialect: Dialect;
  readonly endpoints: readonly Endpoint[];
  readonly processes: readonly ContestantProcess[];
  /** The app that its users, orders and Kafka events are of. */
  readonly app: string;
  /** With Kafka: what it reads. */
  readonly topics: Topics;
  /** For scenarios that publish otherwise than `publish` does. */
  readonly backend: GatewayBackend;
  readonly edges: readonly RunningService[];
  readonly fanouts: readonly RunningService[];
  readonly #tokens: UserTokens;
  readonly #parts: StartedParts;

  constructor({ framing, environment, tokens, backend, parts, edges, fanouts, redis }: GatewayParts) {
    this.name = NAMES[framing];
    this.dialect = DIALECTS[framing];
    this.endpoints = edges.map((edge) => ({ host: "127.0.0.1", port: edge.port("PORT") }));
    this.processes = [
      ...edges.map(({ pid }) => ({ role: "edge", pid })),
      ...fanouts.map(({ pid }) => ({ role: "fanout", pid })),
      redis,
    ];
    this.app = environment.app;
    this.topics = environment.topics;
    this.backend = backend;
    this.edges = edges;
    this.fanouts = fanouts;
    this.#tokens = tokens;
    this.#parts = parts;
  }

  admit(clients: readonly ClientPlan[]): Promise<void> {
    return this.backend.grant(clients);
  }

  credentials(client: ClientPlan): Promise<string> {
    return this.#tokens.of(client);
  }

  publish(event: BackendEvent): Promise<void> {
    return this.backend.publishLocation(event);
  }

  /** A metric of its edges or fanouts, summed over them; 0 where it is missing. */
  async metric(role: "edges" | "fanouts", name: string): Promise<number> {
    const values = await Promise.all(this[role].map((service) => metricOf(service, name)));
    return values.reduce((sum, value) => sum + value, 0);
  }

  stop(): Promise<void> {
    return this.#parts.stop();
  }
}

/** A scenario of the gateway alone needs more of it than the port has. */
export function asGateway(contestant: RunningContestant): RunningGateway {
  if (contestant instanceof RunningGateway) return contestant;
  throw new Error(`${contestant.name} is not the gateway`);
}

async function untilLinked(edges: readonly RunningService[], fanouts: number): Promise<void> {
  const allLinked = async () => {
    const links = await Promise.all(edges.map((edge) => metricOf(edge, "realtime_edge_ready_links")));
    return links.every((count) => count === fanouts);
  };
  await waitFor(allLinked, { what: "a link from every edge to every fanout", timeoutMs: 15_000 });
}

/** A number out of Prometheus metrics, summed over its series. */
async function metricOf(service: RunningService, name: string): Promise<number> {
  const response = await fetch(service.url("METRICS_PORT", "/metrics"));
  let sum = 0;
  for (const line of (await response.text()).split("\n")) {
    if (line.startsWith(`${name} `) || line.startsWith(`${name}{`)) {
      sum += Number(line.slice(line.lastIndexOf(" ")));
    }
  }
  return sum;
}

function indices(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
