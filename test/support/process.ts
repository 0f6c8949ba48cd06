/**
 * Starts one of our processes as it runs in production (`node dist/services/<name>/main.js`) on free
 * ports, waits until its `/ready` says yes, and keeps its JSON logs for assertions and error messages.
 * What it is configured with beyond ports is the test's business.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts } from "./free-port.js";
import type { ProcessExit } from "./guarded-process.js";
import { GuardedProcess } from "./guarded-process.js";
import { waitFor } from "./wait-for.js";

export type ServiceName = "edge" | "fanout" | "gateway";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));

/** As in `docker-compose.yml` and the start scripts; why these: docs/performance.md. */
export const NODE_FLAGS: Readonly<Record<ServiceName, readonly string[]>> = {
  edge: ["--enable-source-maps", "--max-semi-space-size=4"],
  fanout: ["--enable-source-maps", "--max-semi-space-size=32"],
  gateway: ["--enable-source-maps"],
};

/** The variables that carry a port, per process; see the table of commands and ports in the README. */
const PORT_VARIABLES = {
  edge: ["PORT", "METRICS_PORT"],
  fanout: ["API_PORT", "LINK_PORT", "HTTP_PORT", "METRICS_PORT"],
  gateway: ["PORT", "METRICS_PORT", "API_PORT", "HTTP_PORT"],
} as const;

export type PortVariable = (typeof PORT_VARIABLES)[ServiceName][number];

/** Where the process answers `/ready`. */
const READY_PORT = { edge: "PORT", fanout: "HTTP_PORT", gateway: "PORT" } as const;

export interface ServiceOptions {
  /** The process's whole environment beside PATH and ports; a port given here is kept. */
  readonly env?: Readonly<Record<string, string>>;
  /** `listening` where it cannot be ready yet, as an edge without a fanout: `/ready` answers at all. */
  readonly waitUntil?: "ready" | "listening" | "started";
  readonly timeoutMs?: number;
  /** A checkout that was built, to run another release than this one. */
  readonly folder?: string;
}

/** A line of the process's log; a line that is not JSON has only `message`. */
export type LogRecord = Readonly<Record<string, unknown>> & { readonly message?: unknown };

export interface RunningService {
  readonly name: ServiceName;
  readonly pid: number;
  readonly env: Readonly<Record<string, string>>;
  readonly exited: Promise<ProcessExit>;
  readonly process: GuardedProcess;
  port(variable: PortVariable): number;
  /** `http://127.0.0.1:<port><path>` */
  url(variable: PortVariable, path: string): string;
  logs(): readonly LogRecord[];
  /** Waits until it answers 200 at `/ready`. */
  untilReady(timeoutMs?: number): Promise<void>;
  /** SIGTERM; resolves when it has ended in order, rejects (after `kill -9`) when it does not in time. */
  stop(timeoutMs?: number): Promise<ProcessExit>;
  /** `kill -9`. */
  kill(): Promise<ProcessExit>;
  /** SIGSTOP: its sockets stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
}

/** A port that was free a moment ago may be somebody's by now: then others are taken. */
const PORT_ATTEMPTS = 3;

export async function startService(name: ServiceName, options: ServiceOptions = {}): Promise<RunningService> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(name, options);
    } catch (error) {
      if (attempt === PORT_ATTEMPTS || !String(error).includes("EADDRINUSE")) throw error;
    }
  }
}

async function startOnce(name: ServiceName, options: ServiceOptions): Promise<RunningService> {
  const ports = await freePorts(...PORT_VARIABLES[name]);
  const env = {
    PATH: process.env["PATH"] ?? "",
    ...Object.fromEntries(Object.entries(ports).map(([variable, port]) => [variable, String(port)])),
    ...options.env,
  };
  const main = join(options.folder ?? CHECKOUT, "dist/services", name, "main.js");
  const service = new GuardedProcess({
    name,
    command: process.execPath,
    args: [...NODE_FLAGS[name], main],
    env,
  });
  const running = runningService(name, env, service);
  try {
    const timeoutMs = options.timeoutMs ?? 20_000;
    if (options.waitUntil === "listening") await untilAnswer(running, () => true, timeoutMs);
    else if (options.waitUntil !== "started") await running.untilReady(timeoutMs);
  } catch (error) {
    await service.kill();
    throw error;
  }
  return running;
}

function runningService(
  name: ServiceName,
  env: Readonly<Record<string, string>>,
  service: GuardedProcess,
): RunningService {
  const running: RunningService = {
    name,
    pid: service.pid,
    env,
    exited: service.exited,
    process: service,
    port: (variable) => {
      const value = env[variable];
      if (value === undefined) throw new Error(`${name} has no ${variable}`);
      return Number(value);
    },
    url: (variable, path) => `http://127.0.0.1:${running.port(variable)}${path}`,
    logs: () => service.output.map(parseLogLine),
    untilReady: (timeoutMs = 20_000) => untilAnswer(running, (status) => status === 200, timeoutMs),
    stop: (timeoutMs) => {
      service.signal("SIGCONT");
      return service.stop(timeoutMs);
    },
    kill: () => service.kill(),
    freeze: () => service.signal("SIGSTOP"),
    thaw: () => service.signal("SIGCONT"),
  };
  return running;
}

async function untilAnswer(
  service: RunningService,
  wanted: (status: number) => boolean,
  timeoutMs: number,
): Promise<void> {
  const url = service.url(READY_PORT[service.name], "/ready");
  let lastAnswer = "no answer";
  const probe = async (): Promise<boolean> => {
    if (service.process.exit !== undefined) return true;
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    lastAnswer = `${response.status} ${await response.text()}`;
    return wanted(response.status);
  };
  await waitFor(probe, { what: `${service.name} at ${url}`, timeoutMs, pollMs: 25 }).catch(
    (error: unknown) => {
      throw new Error(`${String(error)}; last: ${lastAnswer}\n${service.process.tail()}`, { cause: error });
    },
  );
  service.process.assertRunning();
}

function parseLogLine(line: string): LogRecord {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return { ...parsed };
  } catch {
    // Not JSON: a crash of the runtime, or what a newcomer is told.
  }
  return { message: line };
}
