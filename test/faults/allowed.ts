/** What a scenario may have of each figure: of every breach none, unless it says so. Pure. */
import type { FigureName, Verdict } from "./verdict.js";

/** The most of each figure; those that are no breaches are allowed unless they are named. */
export type Allowed = Partial<Record<FigureName, number>> & {
  /** Of the longest pause of any kind. */
  readonly pauseMs?: number;
};

const NEVER_ALLOWED: readonly FigureName[] = [
  "lostBefore",
  "lostDuring",
  "lostAfter",
  "excused",
  "repeated",
  "outOfOrder",
  "foreign",
  "invented",
  "disagreement",
  "hiddenGaps",
  "latestBackwards",
  "latestFinalLate",
  "told",
  "socketsClosed",
  "notResumed",
  "refused",
  "unknown",
];

/** The figures that are beyond what is allowed. */
export function breached(verdict: Verdict, allowed: Allowed): FigureName[] {
  return Object.entries(boundsOf(allowed)).flatMap(([figure, bound]) =>
    verdict.figures[figure as FigureName] > bound ? [figure as FigureName] : [],
  );
}

function boundsOf(allowed: Allowed): Partial<Record<FigureName, number>> {
  const bounds: Allowed = { ...Object.fromEntries(NEVER_ALLOWED.map((figure) => [figure, 0])), ...allowed };
  return Object.fromEntries(Object.entries(bounds).filter(([name]) => name !== "pauseMs"));
}

/** What a verdict has beyond what is allowed. */
export function breachesOf(verdict: Verdict, allowed: Allowed): string[] {
  const { figures, pauses } = verdict;
  const { pauseMs = Infinity } = allowed;
  const bounds = boundsOf(allowed);
  const breaches = breached(verdict, allowed).map(
    (figure) => `${figure} ${Math.round(figures[figure])}, allowed ${bounds[figure] ?? 0}`,
  );
  const longest = Math.max(pauses.apiMs, pauses.clientMs, pauses.locationMs);
  if (longest > pauseMs) {
    breaches.push(`a pause of ${Math.round(longest)} ms (${pauses.longest}), allowed ${pauseMs}`);
  }
  if (figures.reads === 0 || figures.acknowledged === 0) breaches.push("nothing was written or read");
  return breaches;
}
