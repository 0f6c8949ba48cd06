/**
 * What the gateway must reach, as the project has set it, and whether a run reached it. Ratios are medians of
 * the ratios of single rounds. What was not run, or gave no figure, is said to be so, never taken for reached.
 */
import { FIGURES, formatFigure, type FigureName } from "./figures.js";
import type { Reference, Row } from "./results.js";

const SUBJECT = "gateway (protobuf)";

interface TargetPlace {
  readonly what: string;
  readonly scenario: string;
  readonly point: string;
  readonly figure: FigureName;
  /** The least (where more is better) or the most that will do. */
  readonly bound: number;
  readonly aim?: number;
}

export type Target =
  | (TargetPlace & { readonly kind: "ratio"; readonly to: Reference })
  | (TargetPlace & { readonly kind: "value" })
  /** The figure differs by at most so much (0.15: 15 %) from the first of the scenario's points to any other. */
  | (Omit<TargetPlace, "point"> & { readonly kind: "flat"; readonly points: readonly string[] });

export interface Verdict {
  readonly what: string;
  readonly wanted: string;
  readonly measured: string;
  readonly result: "reached" | "reached, and the aim" | "not reached" | "not measured";
}

export const GROWTH_BY_CONNECTIONS = ["1,000", "5,000", "20,000", "50,000"].map(
  (connections) => `growth, ${connections} connections`,
);

export const TARGETS: readonly Target[] = [
  {
    ...{ kind: "ratio", what: "order rooms at 2,000 locations/s: CPU per delivery", to: "Socket.IO" },
    ...{ scenario: "order-rooms", point: "order rooms, 2,000/s", figure: "cpuPerDeliveryUs" },
    ...{ bound: 0.45, aim: 0.33 },
  },
  {
    ...{ kind: "ratio", what: "order rooms at 8,000 locations/s: CPU per delivery", to: "Socket.IO" },
    ...{ scenario: "order-rooms", point: "order rooms, 8,000/s", figure: "cpuPerDeliveryUs" },
    ...{ bound: 0.7, aim: 0.5 },
  },
  {
    ...{ kind: "value", what: "order rooms at 10,000 deliveries/s: p99", scenario: "order-rooms" },
    ...{ point: "order rooms, 2,000/s", figure: "p99Ms", bound: 10, aim: 5 },
  },
  {
    ...{ kind: "ratio", what: "order rooms: highest rate at p99 < 100 ms", to: "Socket.IO" },
    ...{ scenario: "order-rooms-limit", point: "order rooms, highest rate" },
    ...{ figure: "highestLocationsPerSecond", bound: 1.8, aim: 2.5 },
  },
  {
    ...{ kind: "ratio", what: "big room: CPU per delivery", to: "Socket.IO", scenario: "big-room" },
    ...{ point: "big room", figure: "cpuPerDeliveryUs", bound: 0.65 },
  },
  {
    ...{ kind: "ratio", what: "big room: CPU per delivery", to: "bare ws", scenario: "big-room" },
    ...{ point: "big room", figure: "cpuPerDeliveryUs", bound: 1, aim: 0.8 },
  },
  {
    ...{ kind: "ratio", what: "big room: p99", to: "bare ws", scenario: "big-room" },
    ...{ point: "big room", figure: "p99Ms", bound: 1 },
  },
  {
    ...{ kind: "ratio", what: "memory per idle connection, all processes", to: "Socket.IO" },
    ...{ scenario: "idle", point: "idle", figure: "memoryPerConnectionBytes", bound: 0.85 },
  },
  {
    ...{ kind: "ratio", what: "memory per idle connection, the edges alone", to: "bare ws" },
    ...{ scenario: "idle", point: "idle", figure: "socketMemoryPerConnectionBytes", bound: 1.2 },
  },
  {
    ...{ kind: "value", what: "100,000 connections: memory of all processes", scenario: "hundred-thousand" },
    ...{ point: "100,000 connections", figure: "memoryBytes", bound: 2.5e9 },
  },
  {
    ...{ kind: "value", what: "100,000 connections: p99", scenario: "hundred-thousand" },
    ...{ point: "100,000 connections", figure: "p99Ms", bound: 100 },
  },
  {
    ...{ kind: "flat", what: "growth: CPU per delivery from 1,000 to 50,000 connections" },
    ...{ scenario: "growth", points: GROWTH_BY_CONNECTIONS, figure: "cpuPerDeliveryUs", bound: 0.15 },
  },
  {
    ...{ kind: "value", what: "Kafka in, 5,000 events/s: p99, no lag left", scenario: "kafka-in" },
    ...{ point: "Kafka in, 5,000/s", figure: "p99Ms", bound: 100 },
  },
  {
    ...{ kind: "value", what: "Kafka in, 10,000 events/s (aim): p99, no lag left", scenario: "kafka-in" },
    ...{ point: "Kafka in, 10,000/s", figure: "p99Ms", bound: 100 },
  },
  {
    ...{ kind: "value", what: "one fanout process: locations/s in", scenario: "one-fanout" },
    ...{ point: "one fanout, locations in", figure: "highestLocationsPerSecond", bound: 20_000 },
  },
  {
    ...{ kind: "value", what: "one fanout process: durable publishes/s", scenario: "api-in" },
    ...{ point: "API in, one fanout, in batches", figure: "publishesPerSecond", bound: 5_000 },
  },
];

/** The verdicts on the targets whose scenarios were run. */
export function judge(rows: readonly Row[], targets: readonly Target[] = TARGETS): readonly Verdict[] {
  const ran = new Set(rows.map(({ scenario }) => scenario));
  return targets
    .filter(({ scenario }) => ran.has(scenario))
    .map((target) => {
      const { what } = target;
      const measured = measure(target, rows);
      const wanted = wantedOf(target);
      if (measured === undefined) return { what, wanted, measured: "–", result: "not measured" };
      return { what, wanted, measured: measured.text, result: resultOf(target, measured.value) };
    });
}

function resultOf(target: Target, value: number): Verdict["result"] {
  const { bound, aim } = target;
  const isMore = target.kind !== "flat" && FIGURES[target.figure].better === "more";
  const reaches = (wanted: number): boolean => (isMore ? value >= wanted : value <= wanted);
  if (!reaches(bound)) return "not reached";
  return aim !== undefined && reaches(aim) ? "reached, and the aim" : "reached";
}

interface Measured {
  readonly value: number;
  readonly text: string;
}

function measure(target: Target, rows: readonly Row[]): Measured | undefined {
  const rowAt = (point: string): Row | undefined =>
    rows.find((row) => row.scenario === target.scenario && row.point === point && row.contestant === SUBJECT);
  const { figure } = target;
  switch (target.kind) {
    case "ratio": {
      const ratios = rowAt(target.point)?.ratios[target.to]?.[figure];
      if (ratios === undefined) return undefined;
      const { median, min, max } = ratios;
      return { value: median, text: `${median.toFixed(2)} × (${min.toFixed(2)}–${max.toFixed(2)})` };
    }
    case "value": {
      const spread = rowAt(target.point)?.figures[figure];
      if (spread === undefined) return undefined;
      return { value: spread.median, text: formatFigure(figure, spread.median) };
    }
    case "flat": {
      const values = target.points.map((point) => rowAt(point)?.figures[figure]?.median);
      const [first] = values;
      if (first === undefined) return undefined;
      let widest = 0;
      for (const value of values) {
        if (value === undefined) return undefined;
        const change = value / first - 1;
        if (Math.abs(change) > Math.abs(widest)) widest = change;
      }
      const sign = widest > 0 ? "+" : "";
      return { value: Math.abs(widest), text: `${sign}${(widest * 100).toFixed(0)} % at most` };
    }
  }
}

function wantedOf(target: Target): string {
  const sign = target.kind !== "flat" && FIGURES[target.figure].better === "more" ? "≥" : "≤";
  const text = (value: number): string => {
    switch (target.kind) {
      case "ratio":
        return `${value.toFixed(2)} × ${target.to}`;
      case "value":
        return `${formatFigure(target.figure, value)} (${FIGURES[target.figure].label})`;
      case "flat":
        return `±${value * 100} %`;
    }
  };
  const aim = target.aim === undefined ? "" : `; aim ${text(target.aim)}`;
  return target.kind === "flat" ? text(target.bound) : `${sign} ${text(target.bound)}${aim}`;
}
