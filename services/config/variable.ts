/**
 * One environment variable as the schema knows it: its name, what kind of value it takes, what leaving it
 * unset means, which processes read it, and one sentence for people. The rows stand in `variables/`.
 */
import type { ValueKind } from "./value-kind.js";

export type ProcessName = "edge" | "fanout" | "gateway";

export const EVERY_PROCESS: readonly ProcessName[] = ["edge", "fanout", "gateway"];
/** The processes that hold sockets. */
export const EDGES: readonly ProcessName[] = ["edge", "gateway"];
/** The processes that hold the logic. */
export const FANOUTS: readonly ProcessName[] = ["fanout", "gateway"];

interface VariableRow {
  readonly name: string;
  readonly usedBy: readonly ProcessName[];
  /** One sentence: what it is, and what follows from it. */
  readonly about: string;
  /** Its value is shown nowhere. */
  readonly isSecret: boolean;
}

export interface VariableWithDefault<T> extends VariableRow {
  readonly kind: ValueKind<T>;
  /** As it would be written in the environment; where processes differ, by process. */
  readonly defaultText: string | Readonly<Record<ProcessName, string>>;
}

export interface OptionalVariable<T> extends VariableRow {
  readonly kind: ValueKind<T>;
  readonly defaultText: undefined;
  /** What it means to leave it unset. */
  readonly unset: string;
}

export type Variable<T = unknown> = VariableWithDefault<T> | OptionalVariable<T>;

interface RowOptions {
  readonly usedBy: readonly ProcessName[];
  readonly about: string;
  readonly secret?: true;
}

export function withDefault<T>(
  name: string,
  kind: ValueKind<T>,
  row: RowOptions & { readonly default: VariableWithDefault<T>["defaultText"] },
): VariableWithDefault<T> {
  return {
    name,
    kind,
    defaultText: row.default,
    usedBy: row.usedBy,
    about: row.about,
    isSecret: row.secret === true,
  };
}

export function optional<T>(
  name: string,
  kind: ValueKind<T>,
  row: RowOptions & { readonly unset: string },
): OptionalVariable<T> {
  return {
    name,
    kind,
    defaultText: undefined,
    unset: row.unset,
    usedBy: row.usedBy,
    about: row.about,
    isSecret: row.secret === true,
  };
}

/** The default as written, for one process or, without one, where all share it. */
export function defaultOf(variable: Variable, process?: ProcessName): string | undefined {
  const { defaultText } = variable;
  if (defaultText === undefined || typeof defaultText === "string") return defaultText;
  return process === undefined ? undefined : defaultText[process];
}
