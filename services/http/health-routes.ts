/**
 * The endpoints that monitors and load balancers read. `/health` says how the process is: 200 while it
 * works, also degraded, because restarting it would bring no Redis back. `/ready` says whether new work
 * shall come here: 503 with the reasons while it shall not.
 */
import { json, text, type HttpRoute } from "./route.js";

/** `degraded`: works, and something that it depends on is away. `failed`: does not work; restart it. */
export type HealthStatus = "ok" | "degraded" | "failed";

export interface DependencyReport {
  readonly isConnected: boolean;
  /** Since it was last connected. */
  readonly reconnectAttempts: number;
  /** "memory" where it is embedded, else "redis" or "kafka"; "unknown" before any fanout said so. */
  readonly implementation: string;
}

export interface HealthReport {
  /** Absent: `ok` while both dependencies are connected, else `degraded`. */
  readonly status?: HealthStatus;
  readonly connections: number;
  readonly onlineUsers: number;
  readonly redis: DependencyReport;
  readonly eventBus: DependencyReport;
}

export interface ReadyReport {
  /** Why no new work shall come; empty: ready. As "draining", "redis is away". */
  readonly reasons: readonly string[];
}

export interface HealthRoutesOptions {
  readonly service: string;
  readonly version: string;
  readonly health: () => HealthReport;
  readonly ready: () => ReadyReport;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly now?: () => number;
}

export function healthRoutes(options: HealthRoutesOptions): HttpRoute[] {
  const { service, version, now = Date.now } = options;
  const timestamp = (): string => new Date(now()).toISOString();
  return [
    {
      path: "/health",
      answer: () => {
        const { status: said, ...report } = options.health();
        const status = said ?? statusOf(report);
        const body = { status, service, version, ...report, timestamp: timestamp() };
        return json(status === "failed" ? 503 : 200, body);
      },
    },
    {
      path: "/ready",
      answer: () => {
        const { reasons } = options.ready();
        const ready = reasons.length === 0;
        return json(ready ? 200 : 503, { ready, reasons, service, timestamp: timestamp() });
      },
    },
  ];
}

/** `/metrics` for Prometheus. */
export function metricsRoute(metrics: { readonly contentType: string; text(): Promise<string> }): HttpRoute {
  return {
    path: "/metrics",
    answer: async () => text(200, await metrics.text(), metrics.contentType),
  };
}

function statusOf({ redis, eventBus }: HealthReport): HealthStatus {
  return redis.isConnected && eventBus.isConnected ? "ok" : "degraded";
}
