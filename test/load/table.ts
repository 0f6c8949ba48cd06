/**
 * The results as markdown for people: one table with a row for each contestant at each point, showing only the
 * columns that some row has, and one of the targets. A row whose every round failed shows the reason instead.
 */
import { FIGURE_NAMES, FIGURES, formatFigure, type FigureName } from "./figures.js";
import { REFERENCES, type Ratios, type Reference, type Row, type Spread } from "./results.js";
import type { Verdict } from "./targets.js";

/** Written with their spread; of the others the median is enough. */
const WITH_SPREAD: ReadonlySet<FigureName> = new Set(["cpuPerDeliveryUs", "p99Ms"]);
/** In the JSON file only: what a table cannot hold. */
const NOT_SHOWN: ReadonlySet<FigureName> = new Set(["maxMs", "generatorLateMs"]);

interface Column {
  readonly title: string;
  readonly isNumber: boolean;
  read(row: Row): string;
}

export function tableOf(rows: readonly Row[]): string {
  const figures = FIGURE_NAMES.filter(
    (name) => !NOT_SHOWN.has(name) && rows.some((row) => row.figures[name] !== undefined),
  ).map((name): Column => ({
    title: FIGURES[name].label,
    isNumber: true,
    read: (row) => spreadText(name, row.figures[name], row.headline),
  }));
  const ratios = REFERENCES.filter((reference) =>
    rows.some((row) => headlineRatio(row, reference) !== undefined),
  ).map((reference): Column => ({
    title: `× ${reference}`,
    isNumber: true,
    read: (row) => ratioText(headlineRatio(row, reference)),
  }));
  const notes: readonly Column[] = rows.some(({ failures }) => failures.length > 0)
    ? [{ title: "failed", isNumber: false, read: failureText }]
    : [];
  const columns: readonly Column[] = [
    { title: "scenario", isNumber: false, read: ({ point }) => point },
    { title: "contestant", isNumber: false, read: ({ contestant }) => contestant },
    ...ratios,
    ...figures,
    ...notes,
  ];
  return markdown(
    columns,
    rows.map((row) => columns.map((column) => column.read(row))),
  );
}

export function targetTableOf(verdicts: readonly Verdict[]): string {
  const columns = ["target", "wanted", "measured", "result"].map((title) => ({ title, isNumber: false }));
  return markdown(
    columns,
    verdicts.map(({ what, wanted, measured, result }) => [what, wanted, measured, result]),
  );
}

function headlineRatio(row: Row, reference: Reference): Ratios | undefined {
  return row.ratios[reference]?.[row.headline];
}

function ratioText(ratios: Ratios | undefined): string {
  return ratios === undefined ? "" : ratios.median.toFixed(2);
}

function spreadText(name: FigureName, spread: Spread | undefined, headline: FigureName): string {
  if (spread === undefined) return "";
  const { median, min, max } = spread;
  const isSpreadShown = (WITH_SPREAD.has(name) || name === headline) && min !== max;
  const range = isSpreadShown ? ` (${formatFigure(name, min)}–${formatFigure(name, max)})` : "";
  return `${formatFigure(name, median)}${range}`;
}

/** What is longer stands in the JSON file. */
const MOST_REASON_CHARACTERS = 160;

function shortened(text: string): string {
  return text.length > MOST_REASON_CHARACTERS ? `${text.slice(0, MOST_REASON_CHARACTERS)} …` : text;
}

/** "failed: 12 lost", or which rounds where others succeeded. */
function failureText({ failures, rounds }: Row): string {
  if (failures.length === 0) return "";
  if (failures.length < rounds) return shortened(`${failures.length} of ${rounds}: ${failures.join("; ")}`);
  const reasons = failures.map((failure) => failure.replace(/^round \d+: /, ""));
  return shortened(`failed: ${[...new Set(reasons)].join("; ")}`);
}

function markdown(
  columns: readonly { readonly title: string; readonly isNumber: boolean }[],
  rows: readonly (readonly string[])[],
): string {
  const cells = rows.map((row) =>
    row.map((cell) => cell.replaceAll("|", "\\|").replaceAll(/\s*\n\s*/g, " ")),
  );
  const widths = columns.map(({ title }, index) =>
    Math.max(3, title.length, ...cells.map((row) => (row[index] ?? "").length)),
  );
  const pad = (cell: string, index: number): string =>
    columns[index]?.isNumber === true ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0);
  const line = (row: readonly string[]): string => `| ${row.map(pad).join(" | ")} |`;
  const rule = columns.map(({ isNumber }, index) => {
    const dashes = "-".repeat((widths[index] ?? 3) - (isNumber ? 1 : 0));
    return isNumber ? `${dashes}:` : dashes;
  });
  return [line(columns.map(({ title }) => title)), `| ${rule.join(" | ")} |`, ...cells.map(line)].join("\n");
}
