/**
 * The closed set of figures that scenarios report: what each is called, how it is written, and whether more
 * or less of it is better. Units stand at the end of the names; everything is kept in them, unrounded.
 */

export interface FigureKind {
  /** The column's title, with the unit in which `format` writes. */
  readonly label: string;
  readonly better: "less" | "more";
  format(value: number): string;
}

const whole = (value: number): string => Math.round(value).toLocaleString("en-US");

/** Three digits that mean something: 0.45, 7.8, 78. */
const short = (value: number): string => {
  if (Math.abs(value) >= 100) return whole(value);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
};

const scaled =
  (divisor: number) =>
  (value: number): string =>
    short(value / divisor);

export const FIGURES = {
  deliveriesPerSecond: { label: "deliveries/s", better: "more", format: whole },
  highestLocationsPerSecond: { label: "highest rate, locations/s", better: "more", format: whole },
  publishesPerSecond: { label: "publishes/s", better: "more", format: whole },
  connectsPerSecond: { label: "connects/s", better: "more", format: whole },
  cpuPerDeliveryUs: { label: "CPU per delivery, µs", better: "less", format: short },
  cpuPerPublishUs: { label: "CPU per publish, µs", better: "less", format: short },
  cpuPerReturnUs: { label: "CPU per return, µs", better: "less", format: short },
  cpuPerDeliveryAboveIdleUs: { label: "… without what idling costs, µs", better: "less", format: short },
  cpuCores: { label: "CPU, cores", better: "less", format: (value) => value.toFixed(3) },
  p50Ms: { label: "p50, ms", better: "less", format: short },
  p95Ms: { label: "p95, ms", better: "less", format: short },
  p99Ms: { label: "p99, ms", better: "less", format: short },
  p999Ms: { label: "p99.9, ms", better: "less", format: short },
  maxMs: { label: "max, ms", better: "less", format: short },
  answerP50Ms: { label: "answers p50, ms", better: "less", format: short },
  answerP95Ms: { label: "answers p95, ms", better: "less", format: short },
  answerP99Ms: { label: "answers p99, ms", better: "less", format: short },
  /** How late the generator itself sent, at worst. */
  generatorLateMs: { label: "generator late by at most, ms", better: "less", format: short },
  returnSeconds: { label: "all back after, s", better: "less", format: short },
  resumedShare: { label: "resumed", better: "more", format: (value) => `${(value * 100).toFixed(1)} %` },
  memoryPerConnectionBytes: { label: "memory per connection, KB", better: "less", format: scaled(1000) },
  socketMemoryPerConnectionBytes: {
    label: "… of the processes with sockets, KB",
    better: "less",
    format: scaled(1000),
  },
  memoryBytes: { label: "memory in all, MB", better: "less", format: scaled(1e6) },
  othersCores: {
    label: "CPU of others on the machine, cores",
    better: "less",
    format: (value) => value.toFixed(2),
  },
  generatorShare: {
    label: "generator's share of CPU",
    better: "less",
    format: (value) => `${(value * 100).toFixed(0)} %`,
  },
} as const satisfies Readonly<Record<string, FigureKind>>;

export type FigureName = keyof typeof FIGURES;

export type Figures = Readonly<Partial<Record<FigureName, number>>>;

/** In the order in which tables show them. */
export const FIGURE_NAMES = Object.keys(FIGURES) as readonly FigureName[];

export function formatFigure(name: FigureName, value: number): string {
  return FIGURES[name].format(value);
}
