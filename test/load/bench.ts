/**
 * `npm run bench [-- options]`: runs scenarios and tells what came of them. Progress goes to standard error,
 * the tables to standard output, raw figures and the chart to the output folder. Ends with 0, with 1 where a
 * run gave no figure, with 2 for arguments that make no sense, with 130 after an interrupt.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { runBenchmark } from "./benchmark.js";
import { readOptions, usage, UsageError, type BenchOptions, type OptionsContext } from "./cli-options.js";
import { thisMachine } from "./machine.js";
import { reportOf, writeReport } from "./report.js";
import { QUICK_SCENARIOS, SCENARIOS } from "./scenarios/catalogue.js";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));

const CONTEXT: OptionsContext = {
  scenarios: SCENARIOS,
  quickScenarios: QUICK_SCENARIOS,
  defaultOut: "docs/benchmarks",
};

const INTERRUPTED = 130;
/** One at the terminal comes from it, and once more from the programs that started this one. */
const SAME_INTERRUPT_MS = 1000;

/** The exit code. */
export async function main(args: readonly string[]): Promise<number> {
  let options: BenchOptions;
  try {
    options = readOptions(args, CONTEXT);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    progress(error.message);
    return 2;
  }
  if (options.isHelp) {
    console.log(usage(CONTEXT));
    return 0;
  }
  if (!buildWhereStale()) return 1;
  return bench(options);
}

async function bench({ isQuick, scenarios, rounds, out }: BenchOptions): Promise<number> {
  const date = new Date();
  const interrupt = new AbortController();
  const { signal } = interrupt;
  let interruptedMs = 0;
  const onInterrupt = (): void => {
    if (!signal.aborted) {
      progress("interrupted: ending what runs (again to end at once)");
      interruptedMs = performance.now();
      interrupt.abort();
    } else if (performance.now() - interruptedMs > SAME_INTERRUPT_MS) {
      // Whatever still runs is reaped.
      process.exit(INTERRUPTED);
    }
  };
  process.on("SIGINT", onInterrupt).on("SIGTERM", onInterrupt);
  const beganMs = performance.now();
  const runs = await runBenchmark({
    scenarios: SCENARIOS.filter(({ name }) => scenarios.includes(name)),
    ...{ isQuick, rounds, signal },
    progress: (line) => progress(`${Math.round((performance.now() - beganMs) / 1000)} s  ${line}`),
  });
  const report = reportOf(runs, { date, machine: thisMachine(), isQuick, isInterrupted: signal.aborted });
  console.log(report.text);
  // Half a run is worth telling, but not worth keeping in the place of a whole one.
  if (signal.aborted) return INTERRUPTED;
  for (const path of writeReport(report, out, isQuick)) progress(`written: ${path}`);
  return runs.some(({ outcome }) => outcome.kind === "failed") ? 1 : 0;
}

/** In a process of its own, because a build that fails ends its process. */
function buildWhereStale(): boolean {
  const script = 'import("./scripts/checkout.mjs").then(({ ensureBuilt }) => ensureBuilt())';
  return spawnSync(process.execPath, ["-e", script], { cwd: CHECKOUT, stdio: ["ignore", 2, 2] }).status === 0;
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
