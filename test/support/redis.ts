/**
 * Starts a real Redis for tests: on a free port, without persistence unless asked for, in a
 * temporary folder. The shared one of a test run comes from `inject("redisUrl")`; start your own
 * where the test kills, freezes, empties or restarts it.
 */
import { connect } from "node:net";
import { freePort } from "./free-port.js";
import type { ProcessExit } from "./guarded-process.js";
import { GuardedProcess } from "./guarded-process.js";
import { temporaryFolder } from "./reaper.js";
import { fetchRedisBinary, findRedisBinary } from "./redis-binary.js";
import { waitFor } from "./wait-for.js";

export interface RedisOptions {
  /** A given port lets a test restart Redis where clients expect it. */
  readonly port?: number;
  /** Further arguments of `redis-server`, as in `["--appendonly", "yes"]`. */
  readonly args?: readonly string[];
  /** Folder of an earlier one, to start with its data. */
  readonly folder?: string;
}

export interface RunningRedis {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly folder: string;
  readonly process: GuardedProcess;
  /** Ends it in order (SIGTERM). */
  stop(): Promise<ProcessExit>;
  /** `kill -9`. */
  kill(): Promise<ProcessExit>;
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
}

export async function startRedis(options: RedisOptions = {}): Promise<RunningRedis> {
  const binary = findRedisBinary() ?? fetchRedisBinary(console.log);
  if (binary === undefined) throw new Error("no redis-server 7 or newer on PATH; install redis-server");
  const port = options.port ?? (await freePort());
  const folder = options.folder ?? temporaryFolder("redis");
  const settings = { port: String(port), bind: "127.0.0.1", save: "", appendonly: "no", dir: folder };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const redis = new GuardedProcess({
    name: `redis-server on port ${port}`,
    command: binary.command,
    args: [...args, ...(options.args ?? [])],
    env: { PATH: process.env["PATH"] ?? "", ...binary.env },
  });
  try {
    await waitFor(
      async () => {
        if (redis.exit !== undefined) return { failed: true };
        return (await ping(port)) ? { failed: false } : undefined;
      },
      { what: `PONG of redis-server on port ${port}:\n${redis.tail()}`, timeoutMs: 10_000 },
    );
    redis.assertRunning();
  } catch (error) {
    await redis.kill();
    throw error;
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid: redis.pid,
    folder,
    process: redis,
    stop: () => {
      redis.signal("SIGCONT");
      return redis.stop();
    },
    kill: () => redis.kill(),
    freeze: () => redis.signal("SIGSTOP"),
    thaw: () => redis.signal("SIGCONT"),
  };
}

/** Whether a Redis on loopback answers PING; "loading" and the like are a no. */
export function ping(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host }, () => socket.write("PING\r\n"));
    const finish = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(1_000, () => finish(false));
    socket.once("error", () => finish(false));
    socket.once("data", (data) => finish(data.toString().startsWith("+PONG")));
    socket.once("end", () => finish(false));
  });
}
