/**
 * The log of a process: lines of JSON by pino, each with the service, its version and its server id, and
 * never with a token, a body or a session id (`redaction.ts`), whoever logs what. It fits every logger
 * port of edge/ and fanout/.
 */
import { pino, stdTimeFunctions, type DestinationStream, type Logger as PinoLogger } from "pino";
import type { LogLevel } from "#services/config/config.js";
import { redactFields, scrubText } from "./redaction.js";

export interface LoggerOptions {
  /** "realtime-edge", "realtime-fanout", "realtime-gateway". */
  readonly service: string;
  readonly version: string;
  readonly serverId: string;
  readonly level: LogLevel;
  /** Where lines go. Absent: standard output, written at once so that the last line before an exit is there. */
  readonly destination?: DestinationStream;
}

const MAX_CORRELATION_ID_LENGTH = 128;

export function createLogger({ service, version, serverId, level, destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { service, version, serverId },
    timestamp: stdTimeFunctions.isoTime,
    messageKey: "message",
    // pino's own for `err` would take apart what the redaction has made of an error.
    serializers: { err: (error: unknown) => error },
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return new Logger(destination === undefined ? pino(options) : pino(options, destination));
}

export class Logger {
  constructor(private readonly log: PinoLogger) {}

  debug(fields: object, message: string): void {
    if (this.log.isLevelEnabled("debug")) this.log.debug(redactFields(fields), scrubText(message));
  }

  info(fields: object, message: string): void {
    if (this.log.isLevelEnabled("info")) this.log.info(redactFields(fields), scrubText(message));
  }

  warn(fields: object, message: string): void {
    if (this.log.isLevelEnabled("warn")) this.log.warn(redactFields(fields), scrubText(message));
  }

  error(fields: object, message: string): void {
    if (this.log.isLevelEnabled("error")) this.log.error(redactFields(fields), scrubText(message));
  }

  fatal(fields: object, message: string): void {
    if (this.log.isLevelEnabled("fatal")) this.log.fatal(redactFields(fields), scrubText(message));
  }

  /** A logger whose lines carry these fields too. */
  child(fields: object): Logger {
    return new Logger(this.log.child(redactFields(fields)));
  }

  /** A logger for one piece of business. The id may come from outside. */
  withCorrelationId(correlationId: string): Logger {
    return this.child({ correlationId: correlationId.slice(0, MAX_CORRELATION_ID_LENGTH) });
  }
}
