/**
 * Runs scenarios: round by round, in each round every entrant in turn (A B C, A B C), each with a contestant
 * and a generator of its own. Whatever goes wrong in a turn is that turn's failure, for every point that it
 * still owed; the next turn begins afresh. An interrupt ends the turn that runs, in order, and all after it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "./generator/generator.js";
import type { Run } from "./results.js";
import type { Entrant, LoadGenerator, Outcome, Scenario, Turn } from "./scenario.js";

export interface BenchmarkOptions {
  readonly scenarios: readonly Scenario[];
  readonly isQuick: boolean;
  /** Instead of each scenario's own. */
  readonly rounds: number | undefined;
  readonly signal: AbortSignal;
  progress(line: string): void;
  /** Replaced in tests. */
  startGenerator?: (options: { readonly workers: number }) => Promise<LoadGenerator>;
}

const QUICK_ROUNDS = 2;
/** One for each of two cores. */
const DEFAULT_WORKERS = 2;

/** All runs in their order; those that an interrupt prevented are missing. */
export async function runBenchmark(options: BenchmarkOptions): Promise<readonly Run[]> {
  const runs: Run[] = [];
  for (const scenario of options.scenarios) {
    if (options.signal.aborted) break;
    await runScenario(scenario, options, runs);
  }
  return runs;
}

async function runScenario(scenario: Scenario, options: BenchmarkOptions, runs: Run[]): Promise<void> {
  const { isQuick, signal, progress } = options;
  const { name, headline } = scenario;
  const rounds = options.rounds ?? (isQuick ? QUICK_ROUNDS : scenario.rounds);
  progress(`${name}: ${scenario.description}`);
  const { entrants, stop } = await scenario.entrants({ isQuick });
  try {
    for (let round = 1; round <= rounds; round += 1) {
      for (const entrant of entrants) {
        if (signal.aborted) return;
        const contestant = entrant.contestant.name;
        const say = (line: string): void => progress(`${name} ${round}/${rounds} ${contestant}: ${line}`);
        for (const [point, outcome] of await takeTurn(entrant, { ...options, progress: say })) {
          say(`${point}: ${outcomeText(outcome)}`);
          runs.push({ scenario: name, headline, point, contestant, round, outcome });
        }
      }
    }
  } finally {
    await stop?.();
  }
}

/** An outcome for each of the entrant's points; none where the interrupt came first. */
async function takeTurn(
  { contestant, options: startOptions, points, workers = DEFAULT_WORKERS, measure }: Entrant,
  options: BenchmarkOptions,
): Promise<ReadonlyMap<string, Outcome>> {
  const { signal, progress } = options;
  const outcomes = new Map<string, Outcome>();
  const ends: (() => Promise<void>)[] = [];
  let failure = "it was not measured";
  try {
    const running = await contestant.start(startOptions);
    ends.push(() => running.stop());
    const startGenerator = options.startGenerator ?? ((wanted) => Generator.start(wanted));
    const generator = await startGenerator({ workers });
    ends.push(() => generator.stop());
    const turn: Turn = {
      ...{ contestant: running, generator, progress },
      sleep: (milliseconds) => sleep(milliseconds, undefined, { signal }),
    };
    await untilAborted(signal, async () => {
      for await (const { point, outcome } of measure(turn)) outcomes.set(point, outcome);
    });
  } catch (error) {
    failure = messageOf(error);
    if (!signal.aborted) progress(`failed: ${error instanceof Error ? (error.stack ?? failure) : failure}`);
  }
  // The generator first: clients that go are no loss, servers that go from under them are.
  for (const end of ends.reverse()) {
    await end().catch((error: unknown) => progress(`did not end in order: ${messageOf(error)}`));
  }
  if (signal.aborted) return outcomes;
  for (const point of points) {
    if (!outcomes.has(point)) outcomes.set(point, { kind: "failed", reason: failure });
  }
  return outcomes;
}

/** Rejects as soon as the signal says so; what the work still does then is ended from under it. */
async function untilAborted(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  signal.throwIfAborted();
  const working = work();
  // After an interrupt nobody waits for it any more.
  working.catch(() => undefined);
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new Error("interrupted"));
    signal.addEventListener("abort", abort, { once: true });
  });
  try {
    await Promise.race([working, aborted]);
  } finally {
    if (abort !== undefined) signal.removeEventListener("abort", abort);
  }
}

function outcomeText(outcome: Outcome): string {
  if (outcome.kind === "failed") return `failed: ${outcome.reason}`;
  return Object.entries(outcome.figures)
    .map(([name, value]) => `${name} ${value.toPrecision(4)}`)
    .join(", ");
}

/** The first line: reasons stand in a table. */
function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n")[0] ?? text;
}
