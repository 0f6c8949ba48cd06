/** Vitest's global set-up of the project `faults`: the table of all scenarios is printed when the run is over. */
import { forgetResults, writeTable } from "./summary.js";

export default function setup(): () => void {
  forgetResults();
  return () => {
    const table = writeTable();
    if (table !== undefined) console.log(`\n${table}\n(test-results/faults.md)`);
  };
}
