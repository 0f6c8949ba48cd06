import { describe, expect, test } from "vitest";
import type { Figures } from "./figures.js";
import { rowsOf, type Run } from "./results.js";
import { tableOf, targetTableOf } from "./table.js";

function run(contestant: string, round: number, given: Figures | string): Run {
  const outcome =
    typeof given === "string"
      ? ({ kind: "failed", reason: given } as const)
      : ({ kind: "measured", figures: given } as const);
  return { scenario: "s", headline: "cpuPerDeliveryUs", point: "big room", contestant, round, outcome };
}

/** The cells of a table's rows, by its titles. */
function cellsOf(table: string): readonly Readonly<Record<string, string>>[] {
  const lines = table.split("\n").map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  const [titles = [], , ...rows] = lines;
  return rows.map((row) => Object.fromEntries(titles.map((title, index) => [title, row[index] ?? ""])));
}

describe("the table", () => {
  test("has a row for each contestant with its figures, their spread and the ratios", () => {
    const [gateway, socketIo] = cellsOf(
      tableOf(
        rowsOf([
          ...[run("g", 1, { cpuPerDeliveryUs: 5, p50Ms: 1 }), run("Socket.IO", 1, { cpuPerDeliveryUs: 10 })],
          ...[run("g", 2, { cpuPerDeliveryUs: 7, p50Ms: 2 }), run("Socket.IO", 2, { cpuPerDeliveryUs: 10 })],
        ]),
      ),
    );
    expect(gateway).toEqual({
      scenario: "big room",
      contestant: "g",
      "× Socket.IO": "0.60",
      "CPU per delivery, µs": "6.00 (5.00–7.00)",
      "p50, ms": "1.50",
    });
    expect(socketIo).toMatchObject({ contestant: "Socket.IO", "× Socket.IO": "", "p50, ms": "" });
  });

  test("shows why a contestant has no figure", () => {
    const [row] = cellsOf(tableOf(rowsOf([run("g", 1, "12 lost"), run("g", 2, "12 lost")])));
    expect(row?.["failed"]).toBe("failed: 12 lost");
  });

  test("shows which round failed where others did not", () => {
    const [row] = cellsOf(tableOf(rowsOf([run("g", 1, { cpuPerDeliveryUs: 5 }), run("g", 2, "12 lost")])));
    expect(row).toMatchObject({ "CPU per delivery, µs": "5.00", failed: "1 of 2: round 2: 12 lost" });
  });

  test("stays a table whatever an error says", () => {
    const table = tableOf(rowsOf([run("g", 1, "a | b\nc")]));
    expect(cellsOf(table)).toHaveLength(1);
    expect(cellsOf(table)[0]?.["failed"]).toBe("failed: a \\| b c");
  });
});

test("the table of targets says what was wanted and what came of it", () => {
  const verdict = { what: "CPU", wanted: "≤ 0.45", measured: "0.41", result: "reached" } as const;
  expect(cellsOf(targetTableOf([verdict]))).toEqual([
    { target: "CPU", wanted: "≤ 0.45", measured: "0.41", result: "reached" },
  ]);
});
