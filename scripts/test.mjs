/**
 * `npm test [-- arguments of vitest]`: installs and builds where needed, then runs every test. Redis
 * and Kafka are the business of `test/support/global-setup.ts`. With TEST_REPORT_FILE set, a JSON
 * report is written there.
 */
import { spawn } from "node:child_process";
import { CHECKOUT, ensureBuilt, ensureInstalled, tool } from "./checkout.mjs";

ensureInstalled();
ensureBuilt();

const report = process.env.TEST_REPORT_FILE;
const reporters = report ? ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`] : [];
const args = [tool("vitest/vitest.mjs"), "run", ...reporters, ...process.argv.slice(2)];
const vitest = spawn(process.execPath, args, { cwd: CHECKOUT, stdio: "inherit" });

// An interrupt at the terminal reaches vitest by itself; waiting for it lets it clean up.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => vitest.kill("SIGTERM"));
vitest.on("error", (error) => {
  throw error;
});
vitest.on("exit", (code) => {
  process.exitCode = code ?? 1;
});
