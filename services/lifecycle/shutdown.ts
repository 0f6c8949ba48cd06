/**
 * How a process ends: stages in order, each with a limit, begun by a signal or by an error that nobody
 * caught. A stage that fails or takes too long is logged and the next one begins; a deadline over all of
 * them ends the process whatever happens. A second SIGINT ends it at once.
 */
export interface ShutdownStage {
  /** As it is logged: "tell clients", "close links". */
  readonly name: string;
  readonly timeoutMs: number;
  readonly run: () => Promise<void> | void;
}

export interface ShutdownLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  fatal(fields: object, message: string): void;
}

/** `process` fits. */
export interface EndingProcess {
  on(event: string, listener: (argument: unknown) => void): unknown;
  exit(code: number): void;
}

export interface ShutdownOptions {
  readonly process: EndingProcess;
  readonly logger: ShutdownLogger;
  readonly stages: readonly ShutdownStage[];
  /** For all stages together. */
  readonly deadlineMs: number;
}

const SIGNALS = ["SIGTERM", "SIGINT"] as const;
const CRASHES = ["uncaughtException", "unhandledRejection"] as const;
const EXIT_CODE_OF_CRASH = 1;
/** As shells tell a process that SIGINT ended. */
const EXIT_CODE_OF_SIGINT = 130;

export class Shutdown {
  readonly #options: ShutdownOptions;
  #exitCode = 0;
  #stage = "";
  #finished: Promise<void> | undefined;
  #hasExited = false;

  constructor(options: ShutdownOptions) {
    this.#options = options;
  }

  get hasBegun(): boolean {
    return this.#finished !== undefined;
  }

  /** Listens to signals and to errors that nobody caught. */
  install(): this {
    const { process, logger } = this.#options;
    for (const signal of SIGNALS) process.on(signal, () => this.#signalled(signal));
    for (const crash of CRASHES) {
      process.on(crash, (error: unknown) => {
        logger.fatal({ error: toError(error) }, `the process ends: ${crash}`);
        void this.begin(crash, EXIT_CODE_OF_CRASH);
      });
    }
    return this;
  }

  /** Runs the stages and ends the process. Begun once; a later call can only make the exit code worse. */
  begin(reason: string, exitCode = 0): Promise<void> {
    this.#exitCode = Math.max(this.#exitCode, exitCode);
    this.#finished ??= this.#run(reason);
    return this.#finished;
  }

  #signalled(signal: (typeof SIGNALS)[number]): void {
    if (this.hasBegun && signal === "SIGINT") {
      this.#options.logger.warn({ stage: this.#stage }, "the process ends at once: SIGINT again");
      this.#exit(EXIT_CODE_OF_SIGINT);
      return;
    }
    void this.begin(signal);
  }

  async #run(reason: string): Promise<void> {
    const { logger, stages, deadlineMs } = this.#options;
    logger.info({ reason }, "the process is shutting down");
    const deadline = setTimeout(() => {
      logger.fatal({ stage: this.#stage, deadlineMs }, `the shutdown hung in stage "${this.#stage}"`);
      this.#exit(EXIT_CODE_OF_CRASH);
    }, deadlineMs);
    for (const stage of stages) {
      if (this.#hasExited) break;
      this.#stage = stage.name;
      await this.#runStage(stage);
    }
    clearTimeout(deadline);
    if (!this.#hasExited) logger.info({ reason, exitCode: this.#exitCode }, "the process has shut down");
    this.#exit(this.#exitCode);
  }

  async #runStage(stage: ShutdownStage): Promise<void> {
    const { logger } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const expiry = new Promise<"expired">((resolve) => {
      timer = setTimeout(() => resolve("expired"), stage.timeoutMs);
    });
    try {
      // Within a function, so that a stage that throws at once is caught like one that rejects.
      const work = (async () => stage.run())();
      if ((await Promise.race([work, expiry])) === "expired") {
        // Its failure after that is nobody's any more.
        work.catch(() => undefined);
        logger.warn(
          { stage: stage.name, timeoutMs: stage.timeoutMs },
          "a stage of the shutdown took too long",
        );
      }
    } catch (error) {
      logger.warn({ stage: stage.name, error: toError(error) }, "a stage of the shutdown failed");
    } finally {
      clearTimeout(timer);
    }
  }

  #exit(code: number): void {
    if (this.#hasExited) return;
    this.#hasExited = true;
    this.#options.process.exit(code);
  }
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`thrown: ${String(thrown)}`);
}
