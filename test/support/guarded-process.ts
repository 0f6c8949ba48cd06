/**
 * A child process that tests own: its output is kept (bounded) for error messages, its end is a
 * promise, and it never outlives the tests (see `reaper.ts`). What the process is for, and when it
 * is ready, is the business of `redis.ts`, `kafka.ts` and `process.ts`.
 */
import { spawn, type ChildProcess, type Serializable } from "node:child_process";
import { forgetProcess, reapProcess } from "./reaper.js";
import { within } from "./wait-for.js";

/** Output kept of one process; the oldest lines go first. */
const MAX_OUTPUT_LINES = 5_000;

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  /** How error messages call it. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** It starts processes of its own, as npm does: `kill` and the reaper end those too. */
  readonly hasChildren?: boolean;
  /** Gives it a channel for messages (`process.send`), and gets what it says there. */
  readonly onMessage?: (message: unknown) => void;
}

export class GuardedProcess {
  readonly pid: number;
  /** Resolves when the process has ended and its output is read. */
  readonly exited: Promise<ProcessExit>;
  /** What `kill -9` takes: the process, or minus the group. */
  private readonly killed: number;
  private readonly child: ChildProcess;
  private readonly lines: string[] = [];
  private ended: ProcessExit | undefined;

  constructor(private readonly options: ProcessOptions) {
    const { onMessage } = options;
    const child = spawn(options.command, options.args, {
      env: { ...options.env },
      stdio: ["ignore", "pipe", "pipe", ...(onMessage === undefined ? [] : ["ipc" as const])],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      // Its own process group, whose number is that of its first process.
      detached: options.hasChildren === true,
    });
    this.child = child;
    if (onMessage !== undefined) child.on("message", onMessage);
    this.exited = new Promise((resolve) => {
      child.once("error", (error) => {
        this.lines.push(String(error));
        this.ended = { code: null, signal: null };
        resolve(this.ended);
      });
      child.once("close", (code, signal) => {
        if (child.pid !== undefined) forgetProcess(this.killed);
        this.ended = { code, signal };
        resolve(this.ended);
      });
    });
    this.pid = child.pid ?? -1;
    this.killed = options.hasChildren === true ? -this.pid : this.pid;
    if (child.pid !== undefined) reapProcess(this.killed);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) this.keepLines(stream.setEncoding("utf8"));
    }
  }

  /** How it ended, or undefined while it runs. */
  get exit(): ProcessExit | undefined {
    return this.ended;
  }

  /** The complete lines written so far to standard output and error. */
  get output(): readonly string[] {
    return this.lines;
  }

  /** The last lines, for an error message. */
  tail(lineCount = 40): string {
    return this.lines.slice(-lineCount).join("\n");
  }

  /** Throws with the process's last words when it has ended. */
  assertRunning(): void {
    if (this.ended === undefined) return;
    const how = this.ended.signal ?? `code ${this.ended.code ?? "unknown"}`;
    throw new Error(`${this.options.name} ended with ${how}:\n${this.tail()}`);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.ended === undefined && this.pid > 0) process.kill(this.pid, signal);
  }

  /** Sends it a message; it must have been given a channel for them (`onMessage`). */
  send(message: Serializable): void {
    // Its end, of which `exited` tells, may come before the message does.
    this.child.send(message, () => undefined);
  }

  /** `kill -9`, also of a stopped process. */
  async kill(): Promise<ProcessExit> {
    if (this.ended === undefined && this.pid > 0) process.kill(this.killed, "SIGKILL");
    return within(this.exited, 10_000);
  }

  /** Asks it to end; rejects, after a `kill -9`, when it has not within the time. */
  async stop(timeoutMs = 15_000): Promise<ProcessExit> {
    this.signal("SIGTERM");
    try {
      return await within(this.exited, timeoutMs);
    } catch {
      await this.kill();
      throw new Error(`${this.options.name} did not end within ${timeoutMs} ms of SIGTERM:\n${this.tail()}`);
    }
  }

  private keepLines(stream: NodeJS.ReadableStream): void {
    let rest = "";
    stream.on("data", (chunk: string) => {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop() ?? "";
      this.lines.push(...parts);
      if (this.lines.length > MAX_OUTPUT_LINES) this.lines.splice(0, this.lines.length - MAX_OUTPUT_LINES);
    });
    stream.on("end", () => {
      if (rest !== "") this.lines.push(rest);
    });
  }
}
