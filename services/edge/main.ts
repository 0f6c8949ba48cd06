/** The edge process: reads its configuration, holds sockets, and ends in order. */
import { fanoutDiscovery } from "#edge/link/fanout-discovery.js";
import { grpcConnect } from "#edge/link/grpc-connect.js";
import { loadEdgeConfig } from "#services/config/load.js";
import { metricsRoute } from "#services/http/health-routes.js";
import { startHttpServer } from "#services/http/http-server.js";
import { runProcess } from "#services/lifecycle/run-process.js";
import { EdgePart } from "./edge-part.js";

await runProcess({
  service: "realtime-edge",
  help: {
    process: "edge",
    command: "npm run start:edge",
    about: "Holds the sockets of apps and forwards their frames to fanouts.",
  },
  load: loadEdgeConfig,
  shutdownMs: (config) => config.drainWindowMs + 10_000,
  run: async ({ config, logger, metrics }) => {
    const { link } = config;
    const part = await EdgePart.make({
      service: "realtime-edge",
      process: config,
      sockets: config,
      discovery: fanoutDiscovery(link.addresses, {
        intervalMs: link.resolveIntervalMs,
        onError: (error) => logger.warn({ err: error }, "fanouts could not be looked up"),
      }),
      connect: grpcConnect({ token: link.token, tls: link.tls }),
      logger,
      metrics,
    });
    const prometheus = await startHttpServer({
      host: config.host,
      port: config.metricsPort,
      portVariable: "METRICS_PORT",
      routes: [metricsRoute(metrics)],
      logger,
    });
    const port = await part.start();
    logger.info({ port, metricsPort: prometheus.port }, "the edge is listening");
    return [
      ...part.stages,
      { name: "close the metrics port", timeoutMs: 500, run: () => prometheus.close(200) },
    ];
  },
});
