/**
 * The gateway process: edge and fanout in one, over a link within the process. The embedded default that
 * needs nothing else, for development and small installations.
 */
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { fanoutDiscovery } from "#edge/link/fanout-discovery.js";
import { loadGatewayConfig } from "#services/config/load.js";
import { EdgePart } from "#services/edge/edge-part.js";
import { FanoutPart } from "#services/fanout/fanout-part.js";
import { metricsRoute } from "#services/http/health-routes.js";
import { startHttpServer } from "#services/http/http-server.js";
import { runProcess } from "#services/lifecycle/run-process.js";
import { VERSION } from "#services/version.js";
import { gatewayBanner } from "./banner.js";
import { makeDemoTokens } from "./demo-tokens.js";

const SERVICE = "realtime-gateway";

await runProcess({
  service: SERVICE,
  help: {
    process: "gateway",
    command: "npm start",
    about: "Edge and fanout in one process; needs neither Redis nor Kafka.",
  },
  load: loadGatewayConfig,
  shutdownMs: (config) => config.sockets.drainWindowMs + 10_000,
  run: async ({ config, logger, metrics }) => {
    const given = { service: SERVICE, process: config, logger, metrics };
    const logic = await FanoutPart.make({ ...given, logic: config.logic });
    const sockets = await EdgePart.make({
      ...given,
      sockets: config.sockets,
      discovery: fanoutDiscovery("loopback"),
      connect: () => {
        const [edgeEnd, fanoutEnd] = loopbackLink();
        logic.fanout.acceptLink(fanoutEnd);
        return edgeEnd;
      },
    });
    const prometheus = await startHttpServer({
      host: config.host,
      port: config.metricsPort,
      portVariable: "METRICS_PORT",
      routes: [metricsRoute(metrics)],
      logger,
    });
    const { apiPort, httpPort } = await logic.start();
    const port = await sockets.start();
    logger.info({ port, apiPort, httpPort, metricsPort: prometheus.port }, "the gateway is listening");
    const banner = gatewayBanner({
      config,
      version: VERSION,
      ports: { sockets: port, metrics: prometheus.port, api: apiPort },
      apiAccess: logic.api.describeAccess(),
      tokens: await makeDemoTokens(config),
    });
    process.stdout.write(banner);
    return [
      ...sockets.stages,
      ...logic.stages,
      { name: "close the metrics port", timeoutMs: 300, run: () => prometheus.close(200) },
    ];
  },
});
