/**
 * What a run of fault tests says at its end: one line for each scenario, written as it ends (each test file is
 * a process of its own), and put together by `summary-setup.ts`.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Verdict } from "./verdict.js";

export interface ScenarioResult {
  readonly name: string;
  readonly seed: number;
  readonly durationMs: number;
  /** The longest time that the test's own process stood still: pauses shorter than it say nothing. */
  readonly ownStallMs: number;
  readonly verdict: Pick<Verdict, "figures" | "pauses">;
  /** What it was not allowed. */
  readonly breaches: readonly string[];
  /** Figures of its own, such as memory. */
  readonly notes: readonly string[];
}

const FOLDER = fileURLToPath(new URL("../../test-results", import.meta.url));
const LINES = `${FOLDER}/faults.jsonl`;
const TABLE = `${FOLDER}/faults.md`;

const COLUMNS: readonly (readonly [string, (result: ScenarioResult) => string | number])[] = [
  ["scenario", ({ name }) => name],
  [
    "lost before/during/after",
    ({ verdict: { figures } }) => `${figures.lostBefore}/${figures.lostDuring}/${figures.lostAfter}`,
  ],
  ["repeated", ({ verdict }) => verdict.figures.repeated],
  ["out of order", ({ verdict }) => verdict.figures.outOfOrder + verdict.figures.latestBackwards],
  ["foreign", ({ verdict }) => verdict.figures.foreign + verdict.figures.invented],
  ["disagree", ({ verdict }) => verdict.figures.disagreement],
  ["gaps hidden", ({ verdict }) => verdict.figures.hiddenGaps],
  ["told", ({ verdict }) => verdict.figures.told],
  [
    "pause api/client/location ms",
    ({ verdict: { pauses } }) => [pauses.apiMs, pauses.clientMs, pauses.locationMs].map(Math.round).join("/"),
  ],
  ["calm ms", ({ verdict }) => Math.round(verdict.pauses.calmMs)],
  ["sockets closed", ({ verdict }) => verdict.figures.socketsClosed],
  ["resumed/not", ({ verdict: { figures } }) => `${figures.resumed}/${figures.notResumed}`],
  ["away ms", ({ verdict }) => Math.round(verdict.figures.longestAwayMs)],
  [
    "writes ok/refused/unknown",
    ({ verdict: { figures } }) => `${figures.acknowledged}/${figures.refused}/${figures.unknown}`,
  ],
  ["reads + locations", ({ verdict: { figures } }) => `${figures.reads} + ${figures.locationReads}`],
  ["own stall ms", ({ ownStallMs }) => Math.round(ownStallMs)],
  ["seed", ({ seed }) => seed],
  ["s", ({ durationMs }) => Math.round(durationMs / 1000)],
  ["notes", ({ notes }) => notes.join("; ")],
  ["verdict", ({ breaches }) => (breaches.length === 0 ? "held" : `BROKEN: ${breaches.join("; ")}`)],
];

/** One scenario, as lines for people. */
export function describeResult(result: ScenarioResult): string {
  return COLUMNS.map(([title, read]) => `  ${title}: ${read(result)}`)
    .filter((line) => !/: (0|)$/.test(line) || /lost|repeated|foreign/.test(line))
    .join("\n");
}

export function tableOf(results: readonly ScenarioResult[]): string {
  const row = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
  return [
    row(COLUMNS.map(([title]) => title)),
    row(COLUMNS.map(() => "---")),
    ...results.map((result) => row(COLUMNS.map(([, read]) => read(result)))),
  ].join("\n");
}

export function keepResult(result: ScenarioResult): void {
  mkdirSync(FOLDER, { recursive: true });
  appendFileSync(LINES, `${JSON.stringify(result)}\n`);
}

export function forgetResults(): void {
  rmSync(LINES, { force: true });
}

/** Writes the table of what was kept, and returns it; undefined where nothing was. */
export function writeTable(): string | undefined {
  if (!existsSync(LINES)) return undefined;
  const lines = readFileSync(LINES, "utf8").trim().split("\n");
  const table = tableOf(lines.map((line) => JSON.parse(line) as ScenarioResult));
  writeFileSync(TABLE, `${table}\n`);
  return table;
}
