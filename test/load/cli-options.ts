/**
 * What `npm run bench` can be told, read from its arguments. An unknown option or scenario, and a value that
 * makes no sense, is a `UsageError` that says what there is.
 */
import { parseArgs } from "node:util";

export interface BenchOptions {
  readonly isHelp: boolean;
  readonly isQuick: boolean;
  /** Names of scenarios, in the order in which they exist. */
  readonly scenarios: readonly string[];
  /** Instead of each scenario's own number. */
  readonly rounds: number | undefined;
  /** The folder of the JSON file and the chart. */
  readonly out: string;
}

export interface KnownScenario {
  readonly name: string;
  readonly description: string;
  readonly isByNameOnly: boolean;
}

export interface OptionsContext {
  readonly scenarios: readonly KnownScenario[];
  /** What `--quick` runs where no scenario is named. */
  readonly quickScenarios: readonly string[];
  readonly defaultOut: string;
}

export class UsageError extends Error {
  override readonly name = "UsageError";
}

const OPTIONS = {
  help: { type: "boolean", short: "h" },
  quick: { type: "boolean" },
  scenario: { type: "string", multiple: true },
  rounds: { type: "string" },
  out: { type: "string" },
} as const;

const MAX_ROUNDS = 100;

export function readOptions(args: readonly string[], context: OptionsContext): BenchOptions {
  const { values } = parsed(args);
  const isQuick = values.quick ?? false;
  const wanted = (values.scenario ?? []).flatMap((list) => list.split(",")).map((name) => name.trim());
  const scenarios = scenariosOf(wanted, isQuick, context);
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds >= 1 && rounds <= MAX_ROUNDS)) {
    throw new UsageError(`--rounds must be a whole number from 1 to ${MAX_ROUNDS}`);
  }
  return { isHelp: values.help ?? false, isQuick, scenarios, rounds, out: values.out ?? context.defaultOut };
}

export function usage({ scenarios, quickScenarios, defaultOut }: OptionsContext): string {
  const width = Math.max(...scenarios.map(({ name }) => name.length));
  const lines = scenarios.map(
    ({ name, description, isByNameOnly }) =>
      `  ${name.padEnd(width)}  ${description}${isByNameOnly ? " (only when named)" : ""}`,
  );
  return [
    "npm run bench [-- options]",
    "",
    "  --scenario name[,name]  only these",
    `  --quick                 under two minutes: short and few rounds; ${quickScenarios.join(", ")} unless named`,
    "  --rounds n              so many rounds of each",
    `  --out folder            where latest.json and latest.svg go (quick.json and quick.svg with --quick); ${defaultOut}`,
    "  --help",
    "",
    "Scenarios:",
    ...lines,
  ].join("\n");
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, strict: true, allowPositionals: false });
  } catch (error) {
    // Its first sentence names the argument; what follows is about quoting.
    const [what] = (error instanceof Error ? error.message : String(error)).split(/\. /);
    const known = Object.keys(OPTIONS).map((name) => `--${name}`);
    throw new UsageError(`${what ?? ""}. There are ${known.join(", ")}`, { cause: error });
  }
}

function scenariosOf(
  wanted: readonly string[],
  isQuick: boolean,
  { scenarios, quickScenarios }: OptionsContext,
): readonly string[] {
  const names = scenarios.map(({ name }) => name);
  const unknown = wanted.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    const what = unknown.length === 1 ? "no scenario" : "no scenarios";
    throw new UsageError(
      `there is ${what} ${unknown.map((name) => `"${name}"`).join(", ")}. There are ${names.join(", ")}`,
    );
  }
  if (wanted.length > 0) return names.filter((name) => wanted.includes(name));
  if (isQuick) return names.filter((name) => quickScenarios.includes(name));
  return scenarios.filter(({ isByNameOnly }) => !isByNameOnly).map(({ name }) => name);
}
