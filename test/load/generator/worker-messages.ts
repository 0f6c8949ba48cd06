/** How the generator and its workers talk: questions by the name of a method, one answer to each, in any order. */
import type { WorkerMethods } from "./worker.js";

export type WorkerMethod = keyof WorkerMethods;
export type OrderOf<Method extends WorkerMethod> = Parameters<WorkerMethods[Method]>[0];
export type AnswerOf<Method extends WorkerMethod> = Awaited<ReturnType<WorkerMethods[Method]>>;

export interface WorkerRequest {
  readonly id: number;
  readonly method: WorkerMethod;
  readonly order: unknown;
}

export type WorkerAnswer =
  { readonly id: number; readonly answer: unknown } | { readonly id: number; readonly error: string };
