/** Resolves what every process has: its name, its addresses, its log. */
import { hostname } from "node:os";
import type { ProcessConfig } from "./config.js";
import type { EnvironmentReader } from "./environment-reader.js";
import { processVariables } from "./variables/process.js";

export type ProcessSettings = Omit<ProcessConfig, "warnings">;

/** `port` tells processes of one machine apart. */
export function readProcess(reader: EnvironmentReader, port: number): ProcessSettings {
  const environment = reader.get(processVariables.environment);
  const testHooks = reader.get(processVariables.testHooks);
  if (testHooks && environment === "production") {
    reader.fault(processVariables.testHooks, "must be false in production");
  }
  return {
    environment,
    serverId: reader.get(processVariables.serverId) ?? madeServerId(reader.process, port),
    logLevel: reader.get(processVariables.logLevel),
    host: reader.get(processVariables.host),
    metricsPort: reader.get(processVariables.metricsPort),
    testHooks,
  };
}

function madeServerId(processName: string, port: number): string {
  const host = hostname()
    .replaceAll(/[^\w.-]/g, "-")
    .slice(0, 48);
  // Port 0 is any free one, which is known too late for a name.
  return `${processName}-${host}-${port === 0 ? process.pid : port}`;
}
