/** `/metrics` as JSON on the edge's port: a short look for people and scripts; Prometheus has its own port. */
import { json, type HttpRoute } from "./route.js";

export interface EdgeMetricsReport {
  /** Sockets at this edge. */
  readonly connectedSockets: number;
  /** Sockets since the start, and now. */
  readonly connections: { readonly total: number; readonly online: number };
  /** Channels that sockets of this edge follow. */
  readonly totalRooms: number;
}

export interface EdgeMetricsOptions {
  readonly report: () => EdgeMetricsReport;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly now?: () => number;
}

export function edgeMetricsRoute({ report, now = Date.now }: EdgeMetricsOptions): HttpRoute {
  const startedMs = now();
  return {
    path: "/metrics",
    answer: () => {
      const { rss, heapUsed, heapTotal, external } = process.memoryUsage();
      return json(200, {
        ...report(),
        uptime: Math.floor((now() - startedMs) / 1000),
        memory: { rss, heapUsed, heapTotal, external },
        timestamp: new Date(now()).toISOString(),
      });
    },
  };
}
