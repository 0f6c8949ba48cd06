import { describe, expect, test } from "vitest";
import type { Figures } from "./figures.js";
import { medianOf, rowsOf, type Run } from "./results.js";

function run(contestant: string, round: number, given: Figures | string, point = "p"): Run {
  const outcome =
    typeof given === "string"
      ? ({ kind: "failed", reason: given } as const)
      : ({ kind: "measured", figures: given } as const);
  return { scenario: "s", headline: "cpuPerDeliveryUs", point, contestant, round, outcome };
}

const cpu = (value: number): Figures => ({ cpuPerDeliveryUs: value });

describe("the median", () => {
  test("of an odd number is the one in the middle, whatever the order", () => {
    expect(medianOf([9, 1, 5])).toBe(5);
  });

  test("of an even number lies between the two in the middle", () => {
    expect(medianOf([4, 1, 2, 9])).toBe(3);
  });

  test("of nothing is an error and no number", () => {
    expect(() => medianOf([])).toThrow("nothing");
  });
});

describe("rows", () => {
  test("hold median, least and most over the rounds", () => {
    const [row] = rowsOf([
      run("bare ws", 1, cpu(10)),
      run("bare ws", 2, cpu(30)),
      run("bare ws", 3, cpu(11)),
    ]);
    expect(row?.figures).toEqual({ cpuPerDeliveryUs: { median: 11, min: 10, max: 30 } });
  });

  test("take ratios round by round, and the median of those", () => {
    // The medians alone would say 20 / 20.
    const runs = [
      ...[run("g", 1, cpu(10)), run("Socket.IO", 1, cpu(20))],
      ...[run("g", 2, cpu(20)), run("Socket.IO", 2, cpu(50))],
      ...[run("g", 3, cpu(30)), run("Socket.IO", 3, cpu(10))],
    ];
    const ratios = rowsOf(runs)[0]?.ratios["Socket.IO"]?.cpuPerDeliveryUs;
    expect(ratios).toEqual({ median: 0.5, min: 0.4, max: 3, byRound: [0.5, 0.4, 3] });
  });

  test("are not compared in a round in which one of the two failed", () => {
    const runs = [
      ...[run("g", 1, cpu(10)), run("bare ws", 1, "3 lost")],
      ...[run("g", 2, cpu(10)), run("bare ws", 2, cpu(5))],
    ];
    expect(rowsOf(runs)[0]?.ratios["bare ws"]?.cpuPerDeliveryUs?.byRound).toEqual([2]);
  });

  test("say why a round gave no figure, and take nothing from it", () => {
    const [row] = rowsOf([run("g", 1, cpu(10)), run("g", 2, "12 lost")]);
    expect(row?.failures).toEqual(["round 2: 12 lost"]);
    expect(row?.figures.cpuPerDeliveryUs).toEqual({ median: 10, min: 10, max: 10 });
  });

  test("of one point stand together where a turn measures several", () => {
    const runs = [
      ...[run("g", 1, cpu(1), "2,000/s"), run("g", 1, cpu(2), "8,000/s")],
      ...[run("h", 1, cpu(3), "2,000/s"), run("h", 1, cpu(4), "8,000/s")],
    ];
    expect(rowsOf(runs).map(({ point, contestant }) => `${point} ${contestant}`)).toEqual([
      "2,000/s g",
      "2,000/s h",
      "8,000/s g",
      "8,000/s h",
    ]);
  });
});
