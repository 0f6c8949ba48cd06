import { describe, expect, test } from "vitest";
import { chartOf } from "./chart.js";
import { rowsOf, type Run } from "./results.js";

const TEXTS = { title: "What a delivery costs", subtitle: "a machine & a <date>" };

function run(contestant: string, cpuPerDeliveryUs: number, round = 1): Run {
  const outcome = { kind: "measured", figures: { cpuPerDeliveryUs, p99Ms: 4 } } as const;
  return { scenario: "s", headline: "cpuPerDeliveryUs", point: "big room", contestant, round, outcome };
}

const failedRun: Run = { ...run("bare ws", 1), outcome: { kind: "failed", reason: "3 lost" } };

/** The widths of the bars, in their order. */
const barsOf = (svg: string): readonly number[] =>
  [...svg.matchAll(/<rect x="[^"]+" y="[^"]+" width="([^"]+)"/g)].map(([, width]) => Number(width));

describe("the chart", () => {
  test("has a bar for each contestant and figure, as long as its value, with the value beside it", () => {
    const svg = chartOf(rowsOf([run("g", 6), run("Socket.IO", 12)]), TEXTS);
    const [gateway = 0, socketIo = 0, ...p99] = barsOf(svg);
    expect(gateway / socketIo).toBeCloseTo(0.5, 2);
    expect(p99).toHaveLength(2);
    for (const text of ["big room", "Socket.IO", "6.00", "12.0", "p99, ms"]) expect(svg).toContain(text);
  });

  test("shows the spread where rounds differ", () => {
    expect(chartOf(rowsOf([run("g", 6)]), TEXTS)).not.toContain("<path");
    expect(chartOf(rowsOf([run("g", 6), run("g", 8, 2)]), TEXTS)).toContain("<path");
  });

  test("says where a contestant failed, and draws no bar for it", () => {
    const svg = chartOf(rowsOf([run("g", 6), failedRun]), TEXTS);
    expect(svg).toContain("failed");
    expect(barsOf(svg)).toHaveLength(2);
  });

  test("is well-formed whatever its texts hold", () => {
    const svg = chartOf(rowsOf([run("a < b & c", 6)]), TEXTS);
    expect(svg).toContain("a &lt; b &amp; c");
    expect(svg.replaceAll(/&(amp|lt|gt);/g, "")).not.toContain("&");
  });

  test("is a picture also where nothing was measured", () => {
    expect(chartOf([], TEXTS)).toMatch(/^<svg [^]*<\/svg>\n$/);
  });
});
