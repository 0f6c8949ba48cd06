/**
 * The loaders, one for each process: an environment in, a whole configuration out, or a ConfigurationError
 * that lists all faults. Nothing is connected to here; the only files read are those that variables name.
 */
import { randomBytes } from "node:crypto";
import type { EdgeConfig, FanoutConfig, FanoutRole, GatewayConfig, LogicConfig } from "./config.js";
import { EnvironmentReader, type Environment } from "./environment-reader.js";
import { readEdgeLink, readFanoutLink } from "./link-config.js";
import { readLogic } from "./logic-config.js";
import { nearMisses } from "./near-miss.js";
import { readProcess } from "./process-config.js";
import { hasTokenKeys, readSockets } from "./socket-config.js";
import { linkVariables } from "./variables/link.js";
import { logicVariables } from "./variables/logic.js";
import { processVariables } from "./variables/process.js";
import { socketVariables } from "./variables/sockets.js";

const ALL_ROLES: readonly FanoutRole[] = ["serve", "consume", "relay"];

/** @throws ConfigurationError */
export function loadEdgeConfig(
  environment: Environment,
  reader = new EnvironmentReader("edge", environment),
): EdgeConfig {
  const config: EdgeConfig = {
    ...readProcess(reader, reader.get(socketVariables.port)),
    ...readSockets(reader, undefined),
    link: readEdgeLink(reader),
    warnings: nearMisses(environment),
  };
  reader.finish();
  return config;
}

/** @throws ConfigurationError */
export function loadFanoutConfig(
  environment: Environment,
  reader = new EnvironmentReader("fanout", environment),
): FanoutConfig {
  const settings = readProcess(reader, reader.get(linkVariables.port));
  const logic = readLogic(reader, { ...settings, roles: new Set(reader.get(logicVariables.roles)) });
  const config: FanoutConfig = {
    ...settings,
    ...logic,
    link: readFanoutLink(reader),
    warnings: [...nearMisses(environment), ...embeddedWarnings(logic)],
  };
  reader.finish();
  return config;
}

/** Outside production a secret is made where none is set. @throws ConfigurationError */
export function loadGatewayConfig(
  environment: Environment,
  reader = new EnvironmentReader("gateway", environment),
): GatewayConfig {
  const hasDevelopmentSecret =
    reader.get(processVariables.environment) !== "production" && !hasTokenKeys(reader);
  const developmentSecret = hasDevelopmentSecret ? randomBytes(32).toString("base64url") : undefined;
  const settings = readProcess(reader, reader.get(socketVariables.port));
  const config: GatewayConfig = {
    ...settings,
    sockets: readSockets(reader, developmentSecret),
    logic: readLogic(reader, { ...settings, roles: new Set(ALL_ROLES) }),
    hasDevelopmentSecret,
    warnings: nearMisses(environment),
  };
  reader.finish();
  return config;
}

/** One fanout may well live without stores; two would not know of each other. */
function embeddedWarnings({ redis, kafka }: LogicConfig): string[] {
  return [
    ...(redis === undefined
      ? [
          "REDIS_URL is unset: state is kept in this process, is lost with it, and is not shared with other fanouts",
        ]
      : []),
    ...(kafka === undefined
      ? ["KAFKA_BROKERS is unset: events neither come from nor go to other services"]
      : []),
  ];
}
