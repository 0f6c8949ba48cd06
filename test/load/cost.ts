/**
 * What a piece of work cost: CPU of the contestant's processes by their role, and of the generator (its workers
 * and this process, which publishes), read from the operating system before and after. Memory likewise.
 */
import type { RunningContestant } from "./contestant.js";
import type { Figures } from "./figures.js";
import { busyCpuSeconds } from "./machine.js";
import { readCpu, readMemory } from "./process-usage.js";
import type { Turn } from "./scenario.js";

export interface Cost {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly cpuSecondsByRole: Readonly<Record<string, number>>;
  readonly generatorCpuSeconds: number;
  /** Of everything else on the machine, the kernel's own work included. */
  readonly othersCpuSeconds: number;
}

/** Roles that hold no client's socket. */
const ROLES_WITHOUT_SOCKETS: ReadonlySet<string> = new Set(["fanout", "redis"]);

const DISTURBING_CORES = 0.3;

export async function withCost<Value>(
  { contestant, generator, progress }: Pick<Turn, "contestant" | "generator" | "progress">,
  work: () => Promise<Value>,
): Promise<{ readonly value: Value; readonly cost: Cost }> {
  const generatorPids = [...generator.pids, process.pid];
  const before = cpuByRole(contestant);
  const busyBefore = busyCpuSeconds();
  const generatorBefore = readCpu(generatorPids).cpuMs;
  const beganMs = performance.now();
  const value = await work();
  const seconds = (performance.now() - beganMs) / 1000;
  const generatorCpuSeconds = (readCpu(generatorPids).cpuMs - generatorBefore) / 1000;
  const cpuSecondsByRole: Record<string, number> = {};
  let cpuSeconds = 0;
  for (const [role, cpuMs] of cpuByRole(contestant)) {
    const spent = (cpuMs - (before.get(role) ?? 0)) / 1000;
    cpuSecondsByRole[role] = spent;
    cpuSeconds += spent;
  }
  const busySeconds = busyCpuSeconds() - busyBefore;
  // Each is counted in steps of 10 ms, not at the same moment.
  const othersCpuSeconds = Math.max(0, busySeconds - cpuSeconds - generatorCpuSeconds);
  if (othersCpuSeconds / seconds > DISTURBING_CORES) {
    const cores = (othersCpuSeconds / seconds).toFixed(2);
    progress(`something else on this machine took ${cores} cores meanwhile: these figures say little`);
  }
  return { value, cost: { seconds, cpuSeconds, cpuSecondsByRole, generatorCpuSeconds, othersCpuSeconds } };
}

/** What every scenario tells of a cost. */
export function costFigures({ seconds, cpuSeconds, generatorCpuSeconds, othersCpuSeconds }: Cost): Figures {
  const all = cpuSeconds + generatorCpuSeconds;
  return {
    cpuCores: cpuSeconds / seconds,
    othersCores: othersCpuSeconds / seconds,
    ...(all > 0 && { generatorShare: generatorCpuSeconds / all }),
  };
}

export interface Memory {
  readonly allBytes: number;
  /** Of the processes that hold clients' sockets: edges, or all but Redis. */
  readonly socketHoldersBytes: number;
}

export function memoryOf({ processes }: RunningContestant): Memory {
  const holders = processes.filter(({ role }) => !ROLES_WITHOUT_SOCKETS.has(role));
  const bytes = (of: typeof processes): number => readMemory(of.map(({ pid }) => pid)).pssBytes;
  return { allBytes: bytes(processes), socketHoldersBytes: bytes(holders) };
}

/** What connections added to the memory of processes that had none before. */
export function memoryFigures(before: Memory, after: Memory, connections: number): Figures {
  return {
    memoryPerConnectionBytes: (after.allBytes - before.allBytes) / connections,
    socketMemoryPerConnectionBytes: (after.socketHoldersBytes - before.socketHoldersBytes) / connections,
    memoryBytes: after.allBytes,
  };
}

function cpuByRole({ processes }: RunningContestant): ReadonlyMap<string, number> {
  const byRole = new Map<string, number>();
  for (const { role, pid } of processes) {
    byRole.set(role, (byRole.get(role) ?? 0) + readCpu([pid]).cpuMs);
  }
  return byRole;
}
