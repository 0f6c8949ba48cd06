/**
 * Redis under Sentinel for tests: a primary, a replica and three sentinels that agree within a second that
 * the primary is gone and make the replica the primary. Replication is asynchronous, as it is by default:
 * what was written last may be gone after a failover. The one that was killed can come back, as replica.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort } from "./free-port.js";
import { GuardedProcess } from "./guarded-process.js";
import { temporaryFolder } from "./reaper.js";
import { ping, startRedis, type RunningRedis } from "./redis.js";
import { findRedisBinary } from "./redis-binary.js";
import { waitFor } from "./wait-for.js";

const DOWN_AFTER_MS = 1_000;
const FAILOVER_TIMEOUT_MS = 3_000;
const QUORUM = 2;
const SENTINELS = 3;
/** A replica asks at once and gets its copy without a file, so that tests do not wait for either. */
const REPLICATION = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

export class RedisSentinel {
  readonly name = "mymaster";
  readonly sentinels: readonly GuardedSentinel[];
  #servers: RunningRedis[];

  private constructor(servers: RunningRedis[], sentinels: GuardedSentinel[]) {
    this.#servers = servers;
    this.sentinels = sentinels;
  }

  static async start(): Promise<RedisSentinel> {
    const servers: RunningRedis[] = [];
    const sentinels: GuardedSentinel[] = [];
    const sentinel = new RedisSentinel(servers, sentinels);
    try {
      const primary = await startRedis({ args: REPLICATION });
      servers.push(primary);
      servers.push(await startRedis({ args: replicaOf(primary.port) }));
      for (let index = 0; index < SENTINELS; index++) {
        sentinels.push(await startSentinel(sentinel.name, primary.port));
      }
      await sentinel.untilGuarded();
    } catch (error) {
      await sentinel.stop();
      throw error;
    }
    return sentinel;
  }

  /** As the Redis client wants them. */
  get addresses(): readonly { readonly host: string; readonly port: number }[] {
    return this.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
  }

  /** The variables of a fanout that uses it. */
  get env(): Readonly<Record<string, string>> {
    return {
      REDIS_SENTINELS: this.addresses.map(({ host, port }) => `${host}:${port}`).join(","),
      REDIS_SENTINEL_NAME: this.name,
    };
  }

  /** Who answers that it is the primary; with two of them (one was frozen) the one that sentinels name. */
  async primary(): Promise<RunningRedis> {
    for (const { port } of this.sentinels) {
      const [, primaryPort] = (await ask(port, (client) =>
        client.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.name),
      ).catch(() => [])) as string[];
      const server = this.#servers.find((one) => one.port === Number(primaryPort));
      if (server !== undefined) return server;
    }
    throw new Error("no sentinel names a primary that is here");
  }

  /** `kill -9` of the primary; does not wait for who comes after it. */
  async killPrimary(): Promise<RunningRedis> {
    const primary = await this.primary();
    await primary.kill();
    return primary;
  }

  /** Resolves when all sentinels name another primary than that, and it takes writes. */
  async untilFailedOver(from: RunningRedis): Promise<RunningRedis> {
    return waitFor(
      async () => {
        const primary = await this.primary();
        return primary.port !== from.port && (await roleOf(primary.port)) === "master" ? primary : undefined;
      },
      { what: `another primary than the one on port ${from.port}`, timeoutMs: 20_000, pollMs: 20 },
    );
  }

  /** Starts one that was killed again, empty, as replica of the primary, and waits until it has its copy. */
  async bringBack(killed: RunningRedis): Promise<void> {
    const { port } = await this.primary();
    const back = await startRedis({ port: killed.port, args: replicaOf(port) });
    this.#servers = this.#servers.map((server) => (server.port === killed.port ? back : server));
    await this.untilGuarded();
  }

  /** Every sentinel knows the others, and a replica that has its copy: only then a failover can succeed. */
  async untilGuarded(): Promise<void> {
    const isGuardedBy = async ({ port }: GuardedSentinel): Promise<boolean> => {
      const [peers, replicas] = await ask(port, async (client) => [
        (await client.call("SENTINEL", "SENTINELS", this.name)) as string[][],
        (await client.call("SENTINEL", "REPLICAS", this.name)) as string[][],
      ]);
      const known = peers.filter((peer) => fieldOf(peer, "flags") === "sentinel");
      const linked = replicas.filter(
        (replica) => fieldOf(replica, "flags") === "slave" && fieldOf(replica, "master-link-status") === "ok",
      );
      return known.length === SENTINELS - 1 && linked.length === 1;
    };
    await waitFor(async () => (await Promise.all(this.sentinels.map(isGuardedBy))).every(Boolean), {
      what: "three sentinels that know each other and a replica",
      timeoutMs: 30_000,
      pollMs: 50,
    });
  }

  async stop(): Promise<void> {
    await Promise.all(
      [...this.sentinels.map(({ process }) => process), ...this.#servers].map((one) => one.kill()),
    );
  }
}

export interface GuardedSentinel {
  readonly port: number;
  readonly process: GuardedProcess;
}

function replicaOf(port: number): string[] {
  return [...REPLICATION, "--replicaof", `127.0.0.1 ${port}`];
}

async function startSentinel(name: string, primaryPort: number): Promise<GuardedSentinel> {
  const binary = findRedisBinary();
  if (binary === undefined) throw new Error("no redis-server 7 or newer on PATH; install redis-server");
  const port = await freePort();
  const folder = temporaryFolder("sentinel");
  const file = join(folder, "sentinel.conf");
  // A sentinel writes what it learns into its file.
  const settings = [
    ...[`port ${port}`, "bind 127.0.0.1", `dir ${folder}`],
    `sentinel monitor ${name} 127.0.0.1 ${primaryPort} ${QUORUM}`,
    `sentinel down-after-milliseconds ${name} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${name} ${FAILOVER_TIMEOUT_MS}`,
  ];
  writeFileSync(file, settings.map((line) => `${line}\n`).join(""));
  const sentinel = new GuardedProcess({
    name: `sentinel on port ${port}`,
    command: binary.command,
    args: [file, "--sentinel"],
    env: { PATH: process.env["PATH"] ?? "", ...binary.env },
  });
  try {
    await waitFor(() => sentinel.exit !== undefined || ping(port), {
      what: `PONG of the sentinel on port ${port}`,
      timeoutMs: 10_000,
    });
    sentinel.assertRunning();
  } catch (error) {
    await sentinel.kill();
    throw error;
  }
  return { port, process: sentinel };
}

async function roleOf(port: number): Promise<string> {
  const [role] = await ask(port, (client) => client.role());
  return String(role);
}

/** One question over a connection of its own, to a server that may be gone. */
async function ask<Answer>(port: number, question: (client: Redis) => Promise<Answer>): Promise<Answer> {
  const client = new Redis({
    port,
    host: "127.0.0.1",
    lazyConnect: true,
    retryStrategy: null,
    commandTimeout: 1_000,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    return await question(client);
  } finally {
    client.disconnect();
  }
}

/** Sentinel answers flat lists of names and values. */
function fieldOf(flat: readonly string[], name: string): string | undefined {
  const index = flat.indexOf(name);
  return index < 0 ? undefined : flat[index + 1];
}
