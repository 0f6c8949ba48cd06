/**
 * Finds variables that are set and look like a misspelt one of the schema. They are told, not refused: the
 * environment is shared with others, who may mean theirs.
 */
import type { Environment } from "./environment-reader.js";
import { ALL_VARIABLES } from "./schema.js";

/** Shorter names are near to too many others. */
const MIN_LENGTH = 7;
const MAX_EDITS = 2;

export function nearMisses(environment: Environment): string[] {
  const known = ALL_VARIABLES.map(({ name }) => name);
  const hints: string[] = [];
  for (const name of Object.keys(environment)) {
    if (name.length < MIN_LENGTH || !name.includes("_") || known.includes(name)) continue;
    const near = known.find((each) => each.length >= MIN_LENGTH && isNear(name, each));
    if (near !== undefined) hints.push(`${name} is not a variable of this process; is ${near} meant?`);
  }
  return hints;
}

/** The same first word, and at most two letters added, left out or changed. */
function isNear(name: string, known: string): boolean {
  if (name.split("_", 1)[0] !== known.split("_", 1)[0]) return false;
  return Math.abs(name.length - known.length) <= MAX_EDITS && editsBetween(name, known) <= MAX_EDITS;
}

/** Levenshtein's distance, a row at a time. */
function editsBetween(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (const [row, letter] of Array.from(left).entries()) {
    const current = [row + 1];
    for (const [column, other] of Array.from(right).entries()) {
      const changed = (previous[column] ?? 0) + (letter === other ? 0 : 1);
      current.push(Math.min(changed, (previous[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[right.length] ?? 0;
}
