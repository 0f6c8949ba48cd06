/**
 * Vitest's runner, except that a test file whose Redis or Kafka is not to be had is not loaded:
 * it is reported as one skipped test that says what is missing. (With `CI=true` the global set-up
 * has failed before.)
 */
import type { VitestTestRunner } from "vitest";
import { inject, test, TestRunner } from "vitest";
import { partsNeededBy } from "./provided-context.js";

type ImportSource = Parameters<VitestTestRunner["importFile"]>[1];

export default class MissingPartsRunner extends TestRunner {
  override importFile(filepath: string, source: ImportSource): unknown {
    const missing = partsNeededBy(filepath).filter((part) => inject("missingParts").includes(part));
    if (source !== "collect" || missing.length === 0) return super.importFile(filepath, source);
    test.skip(`not run: needs ${missing.join(" and ")}`);
    return undefined;
  }
}
