/**
 * `npm run verify`: all that CI holds a change against: format, lint, types, contracts, tests. Each
 * step runs, also after a failed one, so that one run tells everything that is wrong.
 */
import { ensureInstalled, progress, run, tool } from "./checkout.mjs";
import { buf } from "./generated-code.mjs";

const node = (path, ...args) => run(process.execPath, [tool(path), ...args]);

const steps = [
  ["format", () => node("prettier/bin/prettier.cjs", "--check", ".")],
  ["format of the contracts", () => buf("format", "--diff", "--exit-code")],
  ["lint", () => node("eslint/bin/eslint.js", "--max-warnings", "0", ".")],
  ["types", () => node("typescript/bin/tsc", "--noEmit")],
  ["contracts", () => run(process.execPath, ["scripts/contracts.mjs"])],
  ["tests", () => run(process.execPath, ["scripts/test.mjs"])],
];

ensureInstalled();
const failed = [];
for (const [name, step] of steps) {
  progress(`\n── ${name} ──`);
  if (!step()) failed.push(name);
}
progress(failed.length === 0 ? "\nverify: all is well" : `\nverify: failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
