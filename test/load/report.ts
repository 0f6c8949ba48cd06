/**
 * What a run leaves behind: the tables for standard output, and in the output folder the raw figures as JSON
 * and the chart. Quick runs have files of their own, so that they do not replace figures worth keeping.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chartOf } from "./chart.js";
import { machineText, type Machine } from "./machine.js";
import { rowsOf, type Run } from "./results.js";
import { tableOf, targetTableOf } from "./table.js";
import { judge } from "./targets.js";

const LEGEND = `Medians over the rounds (least–most). × Socket.IO and × bare ws are the medians of the rounds' ratios: of CPU per
delivery, or of what the scenario is about (highest rate, memory per connection, time until all are back).`;

export interface ReportContext {
  readonly date: Date;
  readonly machine: Machine;
  readonly isQuick: boolean;
  /** Ended before its end: said everywhere. */
  readonly isInterrupted: boolean;
}

export interface Report {
  readonly text: string;
  readonly json: string;
  readonly svg: string;
}

export function reportOf(runs: readonly Run[], context: ReportContext): Report {
  const { date, machine, isQuick, isInterrupted } = context;
  const rows = rowsOf(runs);
  const targets = judge(rows);
  const kind = isInterrupted ? "interrupted run" : isQuick ? "quick run" : "full run";
  const setting = `${machineText(machine)}, ${date.toISOString().slice(0, 10)}, ${kind}`;
  const text = [
    setting,
    "",
    ...(rows.length > 0 ? [LEGEND, "", tableOf(rows)] : ["Nothing was measured."]),
    ...(targets.length > 0 ? ["", targetTableOf(targets)] : []),
  ].join("\n");
  const record = { date: date.toISOString(), machine, isQuick, isInterrupted, rows, targets, runs };
  return {
    text,
    json: `${JSON.stringify(record, undefined, 2)}\n`,
    svg: chartOf(rows, { title: "What a delivery costs", subtitle: setting }),
  };
}

/** Answers the paths of what it wrote. */
export function writeReport(report: Report, folder: string, isQuick: boolean): readonly string[] {
  const name = isQuick ? "quick" : "latest";
  const paths = { json: join(folder, `${name}.json`), svg: join(folder, `${name}.svg`) };
  mkdirSync(folder, { recursive: true });
  writeFileSync(paths.json, report.json);
  writeFileSync(paths.svg, report.svg);
  return [paths.json, paths.svg];
}
