/** The fanout process: reads its configuration, serves links, API and events, and ends in order. */
import { LinkServer } from "#fanout/link/link-server.js";
import { loadFanoutConfig } from "#services/config/load.js";
import { metricsRoute } from "#services/http/health-routes.js";
import { startHttpServer } from "#services/http/http-server.js";
import { runProcess } from "#services/lifecycle/run-process.js";
import { FanoutPart } from "./fanout-part.js";

await runProcess({
  service: "realtime-fanout",
  help: {
    process: "fanout",
    command: "npm run start:fanout",
    about: "Holds sessions, channels and permissions; serves edges, backend services and Kafka.",
  },
  load: loadFanoutConfig,
  shutdownMs: () => 9800,
  run: async ({ config, logger, metrics }) => {
    const part = await FanoutPart.make({
      service: "realtime-fanout",
      process: config,
      logic: config,
      logger,
      metrics,
    });
    const links = new LinkServer({
      ...config.link,
      accept: (stream) => part.fanout.acceptLink(stream),
      counters: part.fanout.counters,
      logger,
    });
    const prometheus = await startHttpServer({
      host: config.host,
      port: config.metricsPort,
      portVariable: "METRICS_PORT",
      routes: [metricsRoute(metrics)],
      logger,
    });
    const ports = await part.start();
    const { port } = config.roles.has("serve") ? await links.start() : { port: 0 };
    logger.info({ ...ports, linkPort: port, metricsPort: prometheus.port }, "the fanout is listening");
    return [
      ...part.stages,
      { name: "close the link port", timeoutMs: 200, run: () => links.stop() },
      { name: "close the metrics port", timeoutMs: 300, run: () => prometheus.close(200) },
    ];
  },
});
