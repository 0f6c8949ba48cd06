/**
 * Whether a load gave figures at all, and which: a run with loss, repeats or closed sockets gives none, nor one
 * in which the generator did not send what it should have, because then something else was measured.
 */
import { costFigures, type Cost } from "./cost.js";
import type { Figures } from "./figures.js";
import type { LoadResult } from "./generator/generator.js";
import type { Outcome } from "./scenario.js";

/** A generator that sent less than this share of what it should have was itself the limit. */
const LEAST_SENT_SHARE = 0.98;

/** What is wrong with a load; undefined where nothing is. */
export function faultOf(result: LoadResult, expectedSent?: number): string | undefined {
  const faults: string[] = [];
  if (result.lost > 0) faults.push(`${result.lost} lost`);
  if (result.repeated > 0) faults.push(`${result.repeated} repeated`);
  if (result.closed > 0) faults.push(`${result.closed} sockets closed`);
  if (expectedSent !== undefined && result.sent < expectedSent * LEAST_SENT_SHARE) {
    faults.push(`the generator sent ${result.sent} of ${Math.round(expectedSent)}`);
  }
  for (const [problem, count] of Object.entries(result.problems)) faults.push(`${count} × ${problem}`);
  if (faults.length === 0 && result.delivered === 0) faults.push("nothing was delivered");
  return faults.length > 0 ? faults.join(", ") : undefined;
}

export function outcomeOf(
  result: LoadResult,
  cost: Cost,
  options: { readonly expectedSent?: number; readonly further?: Figures } = {},
): Outcome {
  const reason = faultOf(result, options.expectedSent);
  if (reason !== undefined) return { kind: "failed", reason };
  return {
    kind: "measured",
    figures: { ...loadFigures(result, cost), ...options.further },
    cpuSecondsByRole: cost.cpuSecondsByRole,
  };
}

function loadFigures(result: LoadResult, cost: Cost): Figures {
  const { p50, p95, p99, p999, max } = result.latencyMs;
  return {
    deliveriesPerSecond: result.delivered / result.seconds,
    cpuPerDeliveryUs: (cost.cpuSeconds * 1e6) / result.delivered,
    ...{ p50Ms: p50, p95Ms: p95, p99Ms: p99, p999Ms: p999, maxMs: max },
    generatorLateMs: result.maxLateMs,
    ...costFigures(cost),
  };
}
