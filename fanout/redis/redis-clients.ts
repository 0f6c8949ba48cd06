/**
 * Builds ioredis clients from options: a single server, Sentinel, or Cluster. Commands never wait for a
 * connection: while there is none they fail at once, and what was in flight when it broke fails too (an
 * effect is repeated by its caller, with the same id). Reconnecting goes on for ever, with capped backoff.
 */
import { Redis, Cluster, type ClusterOptions, type RedisOptions, type Result } from "ioredis";
import type { ConnectionOptions } from "node:tls";

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

export interface RedisConnectionOptions {
  /** `redis://` or `rediss://`; the fields below complete it. */
  readonly url?: string;
  readonly host?: string;
  readonly port?: number;
  readonly username?: string;
  readonly password?: string;
  readonly db?: number;
  readonly tls?: ConnectionOptions;
  /** Redis Cluster: some of its nodes. */
  readonly clusterNodes?: readonly RedisAddress[];
  /** Sentinel: the sentinels, and the name of what they guard. */
  readonly sentinels?: readonly RedisAddress[];
  readonly sentinelName?: string;
  readonly sentinelPassword?: string;
  /** After so long without an answer a command fails. Default 1000. */
  readonly commandTimeoutMs?: number;
  /** How long the first connection may take. Default 5000. */
  readonly connectTimeoutMs?: number;
}

export type RedisClient = Redis | Cluster;

/** ioredis has these at run time and leaves them out of its types: scripts whose replies stay bytes. */
declare module "ioredis" {
  interface RedisCommander<Context> {
    evalBuffer(
      source: string,
      keyCount: number,
      ...keysAndArguments: RedisArgument[]
    ): Result<unknown, Context>;
    evalshaBuffer(
      sha1: string,
      keyCount: number,
      ...keysAndArguments: RedisArgument[]
    ): Result<unknown, Context>;
  }
}
export type RedisArgument = string | number | Buffer;

const DEFAULT_COMMAND_TIMEOUT_MS = 1_000;
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 3_000;
/** Sentinels name the next primary after a second or two: waiting longer would only add to that. */
const SENTINEL_BACKOFF_MAX_MS = 500;
const SENTINEL_TIMEOUT_MS = 1_000;
/** A slot that is on its way to another node takes two. */
const MAX_REDIRECTIONS = 4;
const SLOTS_REFRESH_INTERVAL_MS = 5_000;

/** Exponential, capped, with half of it random so that many fanouts do not come back together. */
function reconnectDelayMs(attempt: number, maxMs: number): number {
  const ceilingMs = Math.min(maxMs, BACKOFF_FIRST_MS * 2 ** Math.min(attempt - 1, 16));
  return Math.round(ceilingMs / 2 + (Math.random() * ceilingMs) / 2);
}

/** The client for commands: pipelines what is asked within one turn. */
export function commandClient(
  options: RedisConnectionOptions,
  onReconnect: (attempt: number) => void,
): RedisClient {
  return build(options, { commandTimeoutMs: commandTimeoutOf(options), autoPipelining: true, onReconnect });
}

/** The client for sharded subscriptions. Its caller subscribes again after a reconnect. */
export function subscriberClient(options: RedisConnectionOptions): RedisClient {
  return build(options, {
    // Subscribing to thousands of channels again takes longer than a command.
    commandTimeoutMs: 5 * commandTimeoutOf(options),
    autoPipelining: false,
    onReconnect: () => undefined,
  });
}

/** Where it connects to, without credentials: for messages. */
export function describeAddress(options: RedisConnectionOptions): string {
  const nodes = options.clusterNodes ?? options.sentinels;
  if (nodes && nodes.length > 0) return nodes.map(({ host, port }) => `${host}:${port}`).join(", ");
  if (options.url !== undefined) {
    if (!URL.canParse(options.url)) return "an address that is not a URL";
    const { hostname, port } = new URL(options.url);
    return `${hostname}:${port === "" ? "6379" : port}`;
  }
  return `${options.host ?? "127.0.0.1"}:${options.port ?? 6379}`;
}

function commandTimeoutOf(options: RedisConnectionOptions): number {
  return options.commandTimeoutMs ?? DEFAULT_COMMAND_TIMEOUT_MS;
}

function build(
  options: RedisConnectionOptions,
  client: {
    commandTimeoutMs: number;
    autoPipelining: boolean;
    onReconnect: (attempt: number) => void;
  },
): RedisClient {
  const backoffMaxMs = options.sentinels ? SENTINEL_BACKOFF_MAX_MS : BACKOFF_MAX_MS;
  const retryStrategy = (attempt: number): number => {
    client.onReconnect(attempt);
    return reconnectDelayMs(attempt, backoffMaxMs);
  };
  const shared: RedisOptions = {
    lazyConnect: true,
    enableOfflineQueue: false,
    commandTimeout: client.commandTimeoutMs,
    connectTimeout: options.connectTimeoutMs ?? 5_000,
    keepAlive: 10_000,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    disableClientInfo: true,
    // After a failover the old primary answers READONLY: find the new one.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
    ...(options.username !== undefined && { username: options.username }),
    ...(options.password !== undefined && { password: options.password }),
    ...(options.tls && { tls: options.tls }),
  };
  if (options.clusterNodes && options.clusterNodes.length > 0) {
    const cluster: ClusterOptions = {
      lazyConnect: true,
      enableOfflineQueue: false,
      enableAutoPipelining: client.autoPipelining,
      shardedSubscribers: !client.autoPipelining,
      clusterRetryStrategy: retryStrategy,
      // What the connection or the cluster was down for fails at once, as on a single server.
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      maxRedirections: MAX_REDIRECTIONS,
      slotsRefreshInterval: SLOTS_REFRESH_INTERVAL_MS,
      redisOptions: shared,
    };
    return new Cluster(
      options.clusterNodes.map(({ host, port }) => ({ host, port })),
      cluster,
    );
  }
  const single: RedisOptions = {
    ...shared,
    enableAutoPipelining: client.autoPipelining,
    retryStrategy,
    ...(options.db !== undefined && { db: options.db }),
  };
  if (options.sentinels && options.sentinels.length > 0) {
    return new Redis({
      ...single,
      sentinels: options.sentinels.map(({ host, port }) => ({ host, port })),
      name: options.sentinelName ?? "mymaster",
      // A sentinel that does not answer is passed over.
      sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
      ...(options.sentinelPassword !== undefined && { sentinelPassword: options.sentinelPassword }),
    });
  }
  if (options.url !== undefined) return new Redis(options.url, single);
  return new Redis({ ...single, host: options.host ?? "127.0.0.1", port: options.port ?? 6379 });
}
