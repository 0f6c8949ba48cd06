/**
 * One fault under load: a cluster with a fleet, a time to warm up, the fault, what heals it, the drain of all
 * streams, and the verdict. It prints its figures and fails on anything beyond what it allows: where nothing
 * is said, of every breach none at all.
 *
 * FAULTS=full runs every scenario at its length; otherwise it is the short form. FAULT_SEED repeats the choices
 * of a run (who, where, when, in what order); what the machine does in between is its own.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Cluster, type ClusterOptions } from "#test/e2e/cluster.js";
import { waitFor } from "#test/support/wait-for.js";
import { breached, breachesOf, type Allowed } from "./allowed.js";
import { Ledger } from "./ledger.js";
import { DEFAULT_LOAD, Load, type LoadOptions } from "./load.js";
import { Random } from "#test/support/random.js";
import { describeResult, keepResult, type ScenarioResult } from "./summary.js";
import { judge, missing, type FigureName, type Verdict } from "./verdict.js";

export const IS_FULL = process.env["FAULTS"] === "full";

/** What differs between a full run and a short one. */
export function fullOrShort<Value>(full: Value, short: Value): Value {
  return IS_FULL ? full : short;
}

export interface FaultContext {
  readonly cluster: Cluster;
  readonly load: Load;
  readonly ledger: Ledger;
  readonly random: Random;
  /** Figures of the scenario's own, for the table. */
  readonly notes: string[];
  /** What the scenario itself found to be beyond what is allowed. */
  readonly breaches: string[];
  /** What ends writing beside the load's, before the drain. */
  readonly finishing: (() => Promise<void>)[];
  /** What ends everything else, whatever happens. */
  readonly stopping: (() => void)[];
  /** Load goes on for so long. */
  pause(durationMs: number): Promise<void>;
  /** Every edge has a link to every fanout. */
  untilLinked(): Promise<void>;
}

export interface ScenarioOptions {
  readonly name: string;
  readonly cluster?: ClusterOptions;
  readonly load?: Partial<LoadOptions>;
  /** Before the load is on. */
  readonly prepare?: (context: Omit<FaultContext, "load">) => Promise<void>;
  readonly warmUpMs?: number;
  /** How long the load goes on after the fault is healed. */
  readonly afterMs?: number;
  readonly drainMs?: number;
  /** Breaks something and heals it: the time of the fault is from its call to its end. */
  readonly fault: (context: FaultContext) => Promise<void>;
  readonly allowed: Allowed;
}

/** A fanout that consumes is ready when its group is: after a kill that takes Kafka 6 s. */
const ENV: Readonly<Record<string, string>> = IS_FULL ? {} : { FANOUT_ROLES: "serve,relay" };

/** Repeats that come late must be seen. */
const QUIET_MS = 500;
/** Findings that a failure shows. */
const MAX_TEXTS = 30;

export async function runScenario(options: ScenarioOptions): Promise<Verdict> {
  const random = Random.fromEnvironment();
  const startedMs = performance.now();
  console.log(`${options.name}: FAULT_SEED=${random.seed}`);
  const cluster = await Cluster.start({
    fanouts: 3,
    ...options.cluster,
    env: { ...ENV, ...options.cluster?.env },
  });
  const ledger = new Ledger();
  let load: Load | undefined;
  const context = contextOf({ cluster, ledger, random });
  const { notes } = context;
  const delay = monitorEventLoopDelay({ resolution: 5 });
  try {
    await options.prepare?.(context);
    const loadOptions = { ...DEFAULT_LOAD, ...options.load };
    load = await Load.start({ cluster, ledger, random, load: loadOptions });
    await sleep(options.warmUpMs ?? fullOrShort(3000, 1000));
    delay.enable();
    const beganMs = performance.now();
    await options.fault({ ...context, load });
    const healedMs = performance.now();
    await sleep(options.afterMs ?? fullOrShort(3000, 1000));
    await load.finish();
    await Promise.all(context.finishing.map((finish) => finish()));
    await drain(ledger, options.drainMs ?? 30_000);
    delay.disable();
    if (load.skipped > 0) notes.push(`${load.skipped} writes skipped`);
    const verdict = judge(ledger, { beganMs, healedMs });
    const result = {
      ...{ name: options.name, seed: random.seed, notes, verdict },
      durationMs: performance.now() - startedMs,
      ownStallMs: delay.max / 1e6,
      breaches: [...breachesOf(verdict, options.allowed), ...context.breaches],
    };
    report(result, verdict, breached(verdict, options.allowed));
    return verdict;
  } finally {
    delay.disable();
    load?.stop();
    for (const stop of context.stopping) stop();
    await cluster.stop();
  }
}

function contextOf(parts: { cluster: Cluster; ledger: Ledger; random: Random }): Omit<FaultContext, "load"> {
  const { cluster } = parts;
  return {
    ...parts,
    notes: [],
    breaches: [],
    finishing: [],
    stopping: [],
    pause: (durationMs) => sleep(durationMs),
    untilLinked: async () => {
      const fanouts = cluster.fanouts.length;
      await waitFor(async () => (await cluster.readyLinks()).every((links) => links === fanouts), {
        what: "a link from every edge to every fanout",
        timeoutMs: 30_000,
        pollMs: 50,
      });
    },
  };
}

/** Until everything acknowledged is read, and nothing more comes. What does not come is the verdict's to tell. */
async function drain(ledger: Ledger, timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  let seen = -1;
  while (performance.now() < deadlineMs) {
    const now = entriesOf(ledger);
    if (seen === now && missing(ledger).length === 0) return;
    seen = now;
    await sleep(QUIET_MS);
  }
}

function entriesOf(ledger: Ledger): number {
  let count = 0;
  for (const { entries } of ledger.readers.values()) count += entries.length;
  return count;
}

function report(result: ScenarioResult, verdict: Verdict, figures: readonly FigureName[]): void {
  console.log(describeResult(result));
  keepResult({ ...result, verdict: { figures: verdict.figures, pauses: verdict.pauses } });
  if (result.breaches.length === 0) return;
  const texts = verdict.findings.flatMap(({ figure, text }) =>
    figures.includes(figure) ? [`  ${figure}: ${text}`] : [],
  );
  const named = `${result.name} (FAULT_SEED=${result.seed})`;
  throw new Error(
    `${named} broke its promise: ${result.breaches.join("; ")}\n${texts.slice(0, MAX_TEXTS).join("\n")}`,
  );
}
