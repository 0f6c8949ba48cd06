import { describe, expect, test } from "vitest";
import type { Cost } from "./cost.js";
import type { LoadResult } from "./generator/generator.js";
import { faultOf, outcomeOf } from "./load-outcome.js";

const RESULT: LoadResult = {
  ...{ sent: 1000, delivered: 5000, expected: 5000, lost: 0, repeated: 0, closed: 0, seconds: 2 },
  ...{ problems: {}, maxLateMs: 7 },
  latencyMs: { p50: 1, p95: 2, p99: 3, p999: 4, max: 5 },
};
const COST: Cost = {
  ...{ seconds: 2, cpuSeconds: 0.1, generatorCpuSeconds: 0.025, othersCpuSeconds: 0.5 },
  cpuSecondsByRole: { edge: 0.06, fanout: 0.04 },
};

describe("a load", () => {
  test("gives its figures where all arrived once", () => {
    expect(outcomeOf(RESULT, COST, { expectedSent: 1000 })).toEqual({
      kind: "measured",
      figures: {
        ...{
          deliveriesPerSecond: 2500,
          cpuPerDeliveryUs: 20,
          cpuCores: 0.05,
          othersCores: 0.25,
          generatorShare: 0.2,
        },
        ...{ p50Ms: 1, p95Ms: 2, p99Ms: 3, p999Ms: 4, maxMs: 5, generatorLateMs: 7 },
      },
      cpuSecondsByRole: { edge: 0.06, fanout: 0.04 },
    });
  });

  test.each([
    [{ lost: 12 }, "12 lost"],
    [{ repeated: 1, closed: 2 }, "1 repeated, 2 sockets closed"],
    [{ sent: 900 }, "the generator sent 900 of 1000"],
    [{ lost: 5, problems: { rate_limited: 1 } }, "5 lost, 1 × rate_limited"],
    [{ delivered: 0 }, "nothing was delivered"],
  ])("with %j gives no figure", (wrong, reason) => {
    const outcome = outcomeOf({ ...RESULT, ...wrong }, COST, { expectedSent: 1000 });
    expect(outcome).toEqual({ kind: "failed", reason });
  });

  test("that somebody else sent is not held against the generator", () => {
    expect(faultOf({ ...RESULT, sent: 0 })).toBeUndefined();
  });
});
