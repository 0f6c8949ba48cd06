/** The parent's end of a worker: starts it, asks it, and fails every question once it has ended. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { forgetProcess, reapProcess } from "#test/support/reaper.js";
import type { AnswerOf, OrderOf, WorkerAnswer, WorkerMethod, WorkerRequest } from "./worker-messages.js";

const CHECKOUT = fileURLToPath(new URL("../../../", import.meta.url));
const WORKER = fileURLToPath(new URL("./worker.ts", import.meta.url));

interface Question {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class WorkerProcess {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #questions = new Map<number, Question>();
  #nextId = 1;
  #ended: Error | undefined;

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.pid = pid;
    reapProcess(pid);
    child.on("message", (message: WorkerAnswer) => this.#answered(message));
    // It runs; what cannot be told to it any more is told by its end.
    child.on("error", () => undefined);
    child.on("exit", (code, signal) => {
      forgetProcess(pid);
      this.#end(new Error(`a worker of the load generator ended with ${signal ?? `code ${code ?? "?"}`}`));
    });
  }

  static async start(): Promise<WorkerProcess> {
    const child = fork(WORKER, {
      cwd: CHECKOUT,
      execArgv: ["--import", "tsx", "--conditions=development"],
      // Typed arrays, Infinity and undefined arrive as they are.
      serialization: "advanced",
      // Whoever measures it by its output would measure the terminal.
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    await once(child, "spawn");
    return new WorkerProcess(child, child.pid ?? -1);
  }

  ask<Method extends WorkerMethod>(
    method: Method,
    ...[order]: OrderOf<Method> extends undefined ? [] : [OrderOf<Method>]
  ): Promise<AnswerOf<Method>> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      // The worker answers by the same table of methods.
      this.#questions.set(id, { resolve: resolve as (answer: unknown) => void, reject });
      const request: WorkerRequest = { id, method, order };
      this.#child.send(request);
    });
  }

  async stop(): Promise<void> {
    if (this.#ended !== undefined) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }

  #answered(message: WorkerAnswer): void {
    const question = this.#questions.get(message.id);
    this.#questions.delete(message.id);
    if ("error" in message) question?.reject(new Error(message.error));
    else question?.resolve(message.answer);
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#questions.values()) reject(error);
    this.#questions.clear();
  }
}
