/**
 * From the outcomes of single turns to what is told: the median and spread over the rounds, and the ratios to
 * the contestants that everybody knows, taken round by round (the machine of one round is the same for all)
 * and their median. Pure; a turn that failed adds no figure, only its reason.
 */
import { FIGURE_NAMES, type FigureName, type Figures } from "./figures.js";
import type { Outcome } from "./scenario.js";

/** One point of one contestant's turn. */
export interface Run {
  readonly scenario: string;
  readonly headline: FigureName;
  readonly point: string;
  readonly contestant: string;
  /** Counts from 1. */
  readonly round: number;
  readonly outcome: Outcome;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Ratios extends Spread {
  readonly byRound: readonly number[];
}

/** All rounds of one contestant at one point. */
export interface Row {
  readonly scenario: string;
  readonly headline: FigureName;
  readonly point: string;
  readonly contestant: string;
  readonly rounds: number;
  readonly figures: Readonly<Partial<Record<FigureName, Spread>>>;
  /** By the contestant that it is compared to; without itself. */
  readonly ratios: Readonly<Record<string, Readonly<Partial<Record<FigureName, Ratios>>>>>;
  /** "round 2: 12 lost" */
  readonly failures: readonly string[];
}

/** What the others are compared to. */
export const REFERENCES = ["Socket.IO", "bare ws"] as const;

export type Reference = (typeof REFERENCES)[number];

/** One row for each contestant at each point, in the order in which they were first run. */
export function rowsOf(runs: readonly Run[]): readonly Row[] {
  const groups = new Map<string, Run[]>();
  for (const run of runs) {
    const key = JSON.stringify([run.scenario, run.point, run.contestant]);
    const group = groups.get(key) ?? [];
    group.push(run);
    groups.set(key, group);
  }
  // A point's contestants stand together, also where one turn measures several points.
  const places = new Map<string, number>();
  for (const run of runs) {
    const place = JSON.stringify([run.scenario, run.point]);
    if (!places.has(place)) places.set(place, places.size);
  }
  const placeOf = (row: Row): number => places.get(JSON.stringify([row.scenario, row.point])) ?? 0;
  return [...groups.values()]
    .flatMap((group) => rowOf(group, runs) ?? [])
    .sort((left, right) => placeOf(left) - placeOf(right));
}

function rowOf(group: readonly Run[], all: readonly Run[]): Row | undefined {
  const [first] = group;
  if (first === undefined) return undefined;
  const { scenario, headline, point, contestant } = first;
  const ratios = REFERENCES.filter((reference) => reference !== contestant).map((reference) => {
    const others = all.filter(
      (run) => run.scenario === scenario && run.point === point && run.contestant === reference,
    );
    return [reference, byFigure((name) => ratiosOf(name, group, others))] as const;
  });
  return {
    ...{ scenario, headline, point, contestant, rounds: group.length },
    figures: byFigure((name) => {
      const values = group.flatMap((run) => figuresOf(run)[name] ?? []);
      return values.length > 0 ? spreadOf(values) : undefined;
    }),
    ratios: Object.fromEntries(ratios),
    failures: group.flatMap(({ round, outcome }) =>
      outcome.kind === "failed" ? [`round ${round}: ${outcome.reason}`] : [],
    ),
  };
}

/** Rounds in which one of the two failed say nothing. */
function ratiosOf(name: FigureName, group: readonly Run[], others: readonly Run[]): Ratios | undefined {
  const byRound = group.flatMap((run) => {
    const own = figuresOf(run)[name];
    const other = others.find(({ round }) => round === run.round);
    const reference = other === undefined ? undefined : figuresOf(other)[name];
    return own === undefined || reference === undefined || reference === 0 ? [] : [own / reference];
  });
  return byRound.length > 0 ? { ...spreadOf(byRound), byRound } : undefined;
}

function figuresOf({ outcome }: Run): Figures {
  return outcome.kind === "measured" ? outcome.figures : {};
}

function byFigure<Value>(
  read: (name: FigureName) => Value | undefined,
): Readonly<Partial<Record<FigureName, Value>>> {
  const found: Partial<Record<FigureName, Value>> = {};
  for (const name of FIGURE_NAMES) {
    const value = read(name);
    if (value !== undefined) found[name] = value;
  }
  return found;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: medianOf(values), min: Math.min(...values), max: Math.max(...values) };
}

export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)];
  const lower = sorted[Math.ceil(middle) - 1];
  if (upper === undefined || lower === undefined) throw new Error("the median of nothing");
  return (lower + upper) / 2;
}
