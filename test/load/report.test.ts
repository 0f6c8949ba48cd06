import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Machine } from "./machine.js";
import { reportOf, writeReport } from "./report.js";
import type { Run } from "./results.js";

const MACHINE: Machine = {
  ...{ cpuModel: "a processor", cores: 2, memoryBytes: 2 ** 34, node: "v20", kernel: "Linux 6" },
};
const CONTEXT = {
  date: new Date("2026-03-01T10:00:00Z"),
  machine: MACHINE,
  isQuick: false,
  isInterrupted: false,
};

const RUN: Run = {
  ...{ scenario: "order-rooms", headline: "cpuPerDeliveryUs", point: "order rooms, 2,000/s" },
  ...{ contestant: "gateway (protobuf)", round: 1 },
  outcome: { kind: "measured", figures: { p99Ms: 12 }, cpuSecondsByRole: { edge: 1 } },
};

describe("the report", () => {
  test("says on which machine and when, and which targets were reached", () => {
    const { text } = reportOf([RUN], CONTEXT);
    for (const part of ["a processor, 2 cores, 16 GiB", "2026-03-01", "full run", "not reached"]) {
      expect(text).toContain(part);
    }
  });

  test("holds all raw figures in its JSON", () => {
    const record = JSON.parse(reportOf([RUN], CONTEXT).json) as Readonly<Record<string, unknown>>;
    expect(record["runs"]).toEqual([RUN]);
    expect(record["machine"]).toEqual(MACHINE);
    expect(record["date"]).toBe("2026-03-01T10:00:00.000Z");
  });

  test("says that nothing was measured, without a table", () => {
    const { text } = reportOf([], { ...CONTEXT, isInterrupted: true });
    expect(text).toContain("Nothing was measured");
    expect(text).toContain("interrupted");
    expect(text).not.toContain("|");
  });

  test("of a quick run does not replace the figures of a full one", () => {
    const folder = mkdtempSync(join(tmpdir(), "report-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const out = join(folder, "benchmarks");
    const full = reportOf([RUN], CONTEXT);
    expect(writeReport(full, out, false)).toEqual([join(out, "latest.json"), join(out, "latest.svg")]);
    writeReport(reportOf([], { ...CONTEXT, isQuick: true }), out, true);
    expect(readFileSync(join(out, "latest.json"), "utf8")).toBe(full.json);
    expect(readFileSync(join(out, "latest.svg"), "utf8")).toBe(full.svg);
  });
});
