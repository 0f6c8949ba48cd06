import { describe, expect, test } from "vitest";
import type { Figures } from "./figures.js";
import { rowsOf, type Run } from "./results.js";
import { SCENARIOS } from "./scenarios/catalogue.js";
import { judge, TARGETS, type Target } from "./targets.js";

const GATEWAY = "gateway (protobuf)";

function measured(contestant: string, figures: Figures, point = "p"): Run {
  const outcome = { kind: "measured", figures } as const;
  return { scenario: "s", headline: "cpuPerDeliveryUs", point, contestant, round: 1, outcome };
}

const resultOf = (target: Target, ...runs: readonly Run[]) => judge(rowsOf(runs), [target])[0]?.result;

const CPU: Target = {
  ...{ kind: "ratio", to: "Socket.IO", what: "CPU", scenario: "s", point: "p", figure: "cpuPerDeliveryUs" },
  ...{ bound: 0.5, aim: 0.3 },
};
const RATE: Target = { ...CPU, figure: "highestLocationsPerSecond", bound: 1.8, aim: 2.5 };

describe("a target", () => {
  test("is reached at its bound where less is better, and not above it", () => {
    const against = measured("Socket.IO", { cpuPerDeliveryUs: 100 });
    expect(resultOf(CPU, measured(GATEWAY, { cpuPerDeliveryUs: 50 }), against)).toBe("reached");
    expect(resultOf(CPU, measured(GATEWAY, { cpuPerDeliveryUs: 51 }), against)).toBe("not reached");
    expect(resultOf(CPU, measured(GATEWAY, { cpuPerDeliveryUs: 30 }), against)).toBe("reached, and the aim");
  });

  test("is reached at its bound where more is better, and not below it", () => {
    const against = measured("Socket.IO", { highestLocationsPerSecond: 1000 });
    const at = (rate: number) =>
      resultOf(RATE, measured(GATEWAY, { highestLocationsPerSecond: rate }), against);
    expect([at(1790), at(1800), at(2500)]).toEqual(["not reached", "reached", "reached, and the aim"]);
  });

  test("is not measured where the other gave no figure", () => {
    expect(resultOf(CPU, measured(GATEWAY, { cpuPerDeliveryUs: 1 }))).toBe("not measured");
  });

  test("of growth looks at the point that differs most from the first, in either direction", () => {
    const flat: Target = {
      ...{ kind: "flat", what: "growth", scenario: "s", points: ["a", "b", "c"] },
      ...{ figure: "cpuPerDeliveryUs", bound: 0.15 },
    };
    const at = (...values: readonly number[]) =>
      values.map((value, index) => measured(GATEWAY, { cpuPerDeliveryUs: value }, ["a", "b", "c"][index]));
    expect(resultOf(flat, ...at(100, 110, 86))).toBe("reached");
    expect(resultOf(flat, ...at(100, 110, 84))).toBe("not reached");
    expect(resultOf(flat, ...at(100, 110))).toBe("not measured");
  });

  test("of a scenario that was not run is not told", () => {
    expect(judge(rowsOf([measured(GATEWAY, {})]), [{ ...CPU, scenario: "another" }])).toEqual([]);
  });
});

test("every target is of a point that its scenario measures", async () => {
  for (const scenario of SCENARIOS) {
    const targets = TARGETS.filter((target) => target.scenario === scenario.name);
    const wanted = targets.flatMap((target) => (target.kind === "flat" ? target.points : [target.point]));
    if (wanted.length === 0) continue;
    const { entrants } = await scenario.entrants({ isQuick: false });
    const measuredPoints = entrants.flatMap(({ points }) => points);
    expect(wanted.filter((point) => !measuredPoints.includes(point))).toEqual([]);
  }
  const names = SCENARIOS.map(({ name }) => name);
  expect(TARGETS.map(({ scenario }) => scenario).filter((name) => !names.includes(name))).toEqual([]);
});
