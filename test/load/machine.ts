/**
 * The machine that figures were taken on, without which they say little, and how busy all of it is: what is
 * neither the contestant nor the generator disturbs both.
 */
import { readFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";

export interface Machine {
  readonly cpuModel: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly node: string;
  readonly kernel: string;
}

export function thisMachine(): Machine {
  const [first] = cpus();
  return {
    cpuModel: first?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
    kernel: `${type()} ${release()}`,
  };
}

export function machineText({ cpuModel, cores, memoryBytes, node, kernel }: Machine): string {
  const gigabytes = Math.round(memoryBytes / 2 ** 30);
  return `${cpuModel}, ${cores} cores, ${gigabytes} GiB, Node ${node}, ${kernel}`;
}

/** USER_HZ. */
const TICKS_PER_SECOND = 100;
/** Of the line `cpu` of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal. */
const IDLE_FIELDS: ReadonlySet<number> = new Set([3, 4]);
const FIELDS = 8;

/** CPU time of all cores that was not idle, since the machine began; a hypervisor's theft counts. */
export function busyCpuSeconds(): number {
  return parseBusyCpuSeconds(readFileSync("/proc/stat", "utf8"));
}

export function parseBusyCpuSeconds(stat: string): number {
  const [line = ""] = stat.split("\n");
  const ticks = line
    .split(/\s+/)
    .slice(1, 1 + FIELDS)
    .map(Number);
  if (!line.startsWith("cpu ") || ticks.length < FIELDS || ticks.some(Number.isNaN)) {
    throw new Error(`this is no /proc/stat: ${JSON.stringify(line)}`);
  }
  const busy = ticks.reduce((sum, count, field) => (IDLE_FIELDS.has(field) ? sum : sum + count), 0);
  return busy / TICKS_PER_SECOND;
}
