/** What `--help` of a process prints: how it is started, and the variables that it reads. */
import { SECTIONS } from "./schema.js";
import { defaultOf, type ProcessName, type Variable } from "./variable.js";

const INDENT = "      ";
const WIDTH = 100;
const HELP_ARGUMENTS: ReadonlySet<string> = new Set(["--help", "-h"]);

export interface HelpOptions {
  readonly process: ProcessName;
  /** As in "npm run start:edge". */
  readonly command: string;
  /** One sentence. */
  readonly about: string;
}

export function helpText({ process, command, about }: HelpOptions): string {
  const sections = SECTIONS.map(({ title, variables }) => ({
    title,
    rows: variables.filter(({ usedBy }) => usedBy.includes(process)),
  })).filter(({ rows }) => rows.length > 0);
  return [
    about,
    "",
    `Usage: ${command} [--help]`,
    "Configured by environment variables, or by a .env file in the working directory (.env.example lists them).",
    ...sections.flatMap(({ title, rows }) => ["", title, ...rows.flatMap((row) => rowLines(row, process))]),
    "",
  ].join("\n");
}

/** Arguments that a process does not take: what somebody meant by them must not be passed over. */
export function unknownArguments(args: readonly string[]): readonly string[] {
  return args.filter((arg) => !HELP_ARGUMENTS.has(arg));
}

/** Whether the arguments of a process ask for help. */
export function asksForHelp(args: readonly string[]): boolean {
  return args.some((arg) => HELP_ARGUMENTS.has(arg));
}

function rowLines(variable: Variable, process: ProcessName): string[] {
  const value =
    variable.defaultText === undefined
      ? `unset: ${variable.unset}`
      : `default: ${defaultText(variable, process)}`;
  return [
    `  ${variable.name}  (${value})${variable.isSecret ? "  secret" : ""}`,
    ...wrapped(`${variable.about.replaceAll("`", "")} Must be ${variable.kind.expects}.`),
  ];
}

function defaultText(variable: Variable, process: ProcessName): string {
  return defaultOf(variable, process) ?? "";
}

function wrapped(sentence: string): string[] {
  const lines: string[] = [];
  let line = INDENT;
  for (const word of sentence.split(" ")) {
    if (line.length + word.length > WIDTH) {
      lines.push(line.trimEnd());
      line = INDENT;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}
