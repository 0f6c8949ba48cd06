/**
 * Prints `N passed, N failed[, N skipped]` from vitest's JSON report, over all projects. A file that
 * could not be loaded counts as one failed test; a missing report too: then the tests did not run.
 */
import { readFileSync } from "node:fs";

console.log(totals(process.argv[2]));

function totals(path) {
  let report;
  try {
    report = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return "0 passed, 1 failed";
  }
  const notLoaded = report.testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.every(({ status }) => status !== "failed"),
  ).length;
  const failed = report.numFailedTests + notLoaded;
  const skipped = report.numPendingTests + report.numTodoTests;
  return `${report.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
