/**
 * What all processes have in common: `--help`, configuration that stops the start where it is wrong, a
 * log, metrics, and an end in order. A start that fails says why in one line and exits with 1.
 */
import type { ProcessConfig } from "#services/config/config.js";
import { ConfigurationError, type Environment } from "#services/config/environment-reader.js";
import { readEnvironment } from "#services/config/environment.js";
import { asksForHelp, helpText, unknownArguments, type HelpOptions } from "#services/config/help.js";
import { createLogger, type Logger } from "#services/logging/logger.js";
import { scrubText } from "#services/logging/redaction.js";
import { Metrics } from "#services/metrics/metrics.js";
import { VERSION } from "#services/version.js";
import { Shutdown, type ShutdownStage } from "./shutdown.js";

export interface ProcessOptions<Config extends ProcessConfig> {
  /** As logs and `/health` name it. */
  readonly service: string;
  readonly help: HelpOptions;
  readonly load: (environment: Environment) => Config;
  /** How long the end may take in all. */
  readonly shutdownMs: (config: Config) => number;
  /** Starts everything; the stages that it returns are run at the end. */
  readonly run: (given: {
    readonly config: Config;
    readonly logger: Logger;
    readonly metrics: Metrics;
  }) => Promise<readonly ShutdownStage[]>;
}

export async function runProcess<Config extends ProcessConfig>(
  options: ProcessOptions<Config>,
): Promise<void> {
  if (asksForHelp(process.argv.slice(2))) {
    process.stdout.write(helpText(options.help));
    return;
  }
  const unknown = unknownArguments(process.argv.slice(2));
  if (unknown.length > 0) {
    const hint = "it is configured by environment variables, which --help lists";
    process.stderr.write(`${options.help.command} takes no ${unknown.join(" ")}: ${hint}\n`);
    process.exit(1);
  }
  const config = loadOrExit(options);
  const logger = createLogger({
    service: options.service,
    version: VERSION,
    serverId: config.serverId,
    level: config.logLevel,
  });
  // Listens from the first moment on: a signal during the start ends it, too.
  const stages: ShutdownStage[] = [];
  new Shutdown({ process, logger, stages, deadlineMs: options.shutdownMs(config) }).install();
  for (const warning of config.warnings) logger.warn({}, warning);
  try {
    stages.push(...(await options.run({ config, logger, metrics: new Metrics() })));
  } catch (error) {
    const failure = `the start failed: ${error instanceof Error ? error.message : String(error)}`;
    logger.fatal({ err: error }, failure);
    // The log is for machines; whoever sits at the terminal gets one line to read.
    process.stderr.write(`${scrubText(failure)}\n`);
    process.exit(1);
  }
}

function loadOrExit<Config extends ProcessConfig>(options: ProcessOptions<Config>): Config {
  try {
    return options.load(readEnvironment());
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}
