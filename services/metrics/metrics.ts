/**
 * Publishes what parts count in plain integers as Prometheus metrics: values are read when somebody
 * scrapes, so counting on hot paths costs an addition. Labels come from closed sets; no user, room or
 * address is ever one, and a metric that grows beyond its bound of series keeps its first ones.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { IntegerHistogram } from "./integer-histogram.js";

export type Labels = Readonly<Record<string, string>>;

interface MetricText {
  /** As events.md names it. */
  readonly name: string;
  readonly help: string;
}

export interface NumberSource extends MetricText {
  readonly read: () => number;
  /** The same on every reading, as `{ namespace: "native" }`. */
  readonly labels?: Labels;
}

export interface LabelledSource extends MetricText {
  readonly labelNames: readonly string[];
  /** The values of the labels in the order of their names, and the number. */
  readonly read: () => Iterable<readonly [labelValues: readonly string[], value: number]>;
}

export interface HistogramSource extends MetricText {
  readonly histogram: IntegerHistogram;
  /** What one of the histogram's units is in the metric's: 1e-6 for microseconds in seconds. */
  readonly unit: number;
  readonly labels?: Labels;
}

/** Series of one metric; a closed set of labels stays far below. */
const MAX_SERIES = 500;

export class Metrics {
  readonly #registry = new Registry();

  /** `processMetrics`: memory, CPU, event loop, garbage collection. On by default. */
  constructor({ processMetrics = true }: { readonly processMetrics?: boolean } = {}) {
    if (processMetrics) collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** What Prometheus reads. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** A number that only rises. */
  publishCounter(source: NumberSource): void {
    this.publishLabelledCounter(labelledOf(source));
  }

  /** A number that rises and falls. */
  publishGauge(source: NumberSource): void {
    this.publishLabelledGauge(labelledOf(source));
  }

  publishLabelledCounter({ name, help, labelNames, read }: LabelledSource): void {
    const counter = new Counter({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect: () => {
        counter.reset();
        for (const [values, value] of bounded(read())) counter.inc(labelsOf(labelNames, values), value);
      },
    });
  }

  publishLabelledGauge({ name, help, labelNames, read }: LabelledSource): void {
    const gauge = new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect: () => {
        gauge.reset();
        for (const [values, value] of bounded(read())) gauge.set(labelsOf(labelNames, values), value);
      },
    });
  }

  publishHistogram(source: HistogramSource): void {
    new PublishedHistogram(source, this.#registry);
  }
}

/** Rows out of a map from one label to a number, as parts keep them. */
export function* byLabel(counts: Iterable<readonly [string, number]>, before: readonly string[] = []) {
  for (const [label, value] of counts) yield [[...before, label], value] as const;
}

/** Takes its numbers from an IntegerHistogram instead of having any of its own. */
class PublishedHistogram extends Histogram {
  readonly #source: HistogramSource;

  constructor(source: HistogramSource, registry: Registry) {
    super({
      name: source.name,
      help: source.help,
      buckets: source.histogram.bounds.map((bound) => scaled(bound, source.unit)),
      labelNames: Object.keys(source.labels ?? {}),
      registers: [registry],
    });
    this.#source = source;
  }

  /** What the registry asks for its text; the types of prom-client leave it out. */
  async getForPromString(): Promise<object> {
    const { name, help } = this.#source;
    return { name, help, type: "histogram", aggregator: "sum", values: this.#values() };
  }

  #values(): { metricName: string; labels: Record<string, string | number>; value: number }[] {
    const { name, histogram, unit, labels = {} } = this.#source;
    let cumulated = 0;
    const buckets = histogram.counts.map((count, index) => {
      cumulated += count;
      const bound = histogram.bounds[index];
      const le = bound === undefined ? "+Inf" : scaled(bound, unit);
      return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: cumulated };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels: { ...labels }, value: histogram.sum * unit },
      { metricName: `${name}_count`, labels: { ...labels }, value: histogram.count },
    ];
  }
}

function labelledOf({ labels = {}, read, ...text }: NumberSource): LabelledSource {
  const values = Object.values(labels);
  return { ...text, labelNames: Object.keys(labels), read: () => [[values, read()]] };
}

function labelsOf(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""]));
}

function* bounded<T>(rows: Iterable<T>): Iterable<T> {
  let series = 0;
  for (const row of rows) {
    if (series >= MAX_SERIES) return;
    series += 1;
    yield row;
  }
}

/** 100 µs shall be 0.0001 and not 0.00009999999999999999. */
function scaled(bound: number, unit: number): number {
  return Number((bound * unit).toPrecision(12));
}
