/**
 * Reads variables of the schema out of an environment and collects what is wrong with them, so that a start
 * fails once, with all faults. A value that cannot be read is replaced by its default only to go on
 * looking: `finish` throws then, and nothing read gets out. Secret values are in no message.
 */
import { readFileSync } from "node:fs";
import type { FileReader } from "./value-kind.js";
import {
  defaultOf,
  type OptionalVariable,
  type ProcessName,
  type Variable,
  type VariableWithDefault,
} from "./variable.js";

/** A copy of `process.env`, or what a test sets. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Stops a start: its message lists every fault, a line for each, with the variable's name. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";

  constructor(readonly faults: readonly string[]) {
    super(`the configuration cannot be used:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`);
  }
}

const MAX_SHOWN_LENGTH = 80;

export class EnvironmentReader {
  /** What was asked for; a test holds it against the schema. */
  readonly namesRead = new Set<string>();
  readonly #faults: string[] = [];

  constructor(
    readonly process: ProcessName,
    private readonly environment: Environment,
    private readonly files: FileReader = (path) => readFileSync(path, "utf8"),
  ) {}

  /** Whether it is set to something; empty counts as unset. */
  isSet(variable: Variable): boolean {
    this.namesRead.add(variable.name);
    return this.#textOf(variable) !== undefined;
  }

  /** Whether it is set to something else than its default, which a copied `.env.example` holds. */
  isChanged(variable: Variable): boolean {
    return this.isSet(variable) && this.#textOf(variable) !== defaultOf(variable, this.process);
  }

  get<T>(variable: VariableWithDefault<T>): T;
  get<T>(variable: OptionalVariable<T>): T | undefined;
  get<T>(variable: Variable<T>): T | undefined {
    this.namesRead.add(variable.name);
    const given = this.#textOf(variable);
    if (given !== undefined) {
      const value = variable.kind.parse(given, this.files);
      if (value !== undefined) return value;
      this.#faults.push(
        `${variable.name}${shown(variable, given)} must be ${variable.kind.expects}${hint(given)}`,
      );
    }
    return this.#defaultValueOf(variable);
  }

  /** Notes what is wrong between variables; the sentence goes on after the name. */
  fault(variable: Variable, sentence: string): void {
    this.#faults.push(`${variable.name} ${sentence}`);
  }

  /** @throws ConfigurationError where there was any fault. */
  finish(): void {
    if (this.#faults.length > 0) throw new ConfigurationError([...new Set(this.#faults)]);
  }

  #textOf({ name }: Variable): string | undefined {
    const given = this.environment[name]?.trim() ?? "";
    return given === "" ? undefined : given;
  }

  #defaultValueOf<T>(variable: Variable<T>): T | undefined {
    const written = defaultOf(variable, this.process);
    if (written === undefined) return undefined;
    const value = variable.kind.parse(written, this.files);
    if (value === undefined)
      throw new Error(`the default of ${variable.name} is not ${variable.kind.expects}`);
    return value;
  }
}

function shown(variable: Variable, given: string): string {
  return variable.isSecret ? "" : ` is ${JSON.stringify(given.slice(0, MAX_SHOWN_LENGTH))} and`;
}

/** Kubernetes sets variables like REDIS_PORT=tcp://… for services of that name. */
function hint(given: string): string {
  return given.startsWith("tcp://")
    ? " (Kubernetes sets this for a Service of that name: `enableServiceLinks: false` in the pod ends it)"
    : "";
}
