/**
 * What processes cost, from the operating system (Linux, `/proc`): CPU time in steps of 10 ms, and memory as
 * PSS (what several processes share, as Node's own code, counts a part of it in each) and RSS (counted whole
 * in each). PSS is read by walking the process's page tables: read it outside of what is measured.
 */
import { existsSync, readFileSync } from "node:fs";

export interface CpuUsage {
  /** User and system. */
  readonly cpuMs: number;
  readonly userMs: number;
  readonly systemMs: number;
}

export interface MemoryUsage {
  readonly pssBytes: number;
  readonly rssBytes: number;
}

export interface Usage extends CpuUsage, MemoryUsage {}

export interface CpuOptions {
  /** Adds what the processes' own children took that have ended and were waited for. */
  readonly withEndedChildren?: boolean;
}

/** USER_HZ: what the kernel counts in towards programs, on all machines that Node runs on. */
const TICKS_PER_SECOND = 100;
const TICK_MS = 1000 / TICKS_PER_SECOND;
const KIB = 1024;

/** Of all these processes together, since each began. Throws where one has ended. */
export function readCpu(pids: readonly number[], options: CpuOptions = {}): CpuUsage {
  let userMs = 0;
  let systemMs = 0;
  for (const pid of pids) {
    const times = parseStat(readProcess(pid, "stat"));
    userMs += times.userMs;
    systemMs += times.systemMs;
    if (options.withEndedChildren !== true) continue;
    userMs += times.endedChildrenUserMs;
    systemMs += times.endedChildrenSystemMs;
  }
  return { cpuMs: userMs + systemMs, userMs, systemMs };
}

/** Of all these processes together, now. Throws where one has ended. */
export function readMemory(pids: readonly number[]): MemoryUsage {
  let pssBytes = 0;
  let rssBytes = 0;
  for (const pid of pids) {
    const memory = parseSmapsRollup(readProcess(pid, "smaps_rollup"));
    pssBytes += memory.pssBytes;
    rssBytes += memory.rssBytes;
  }
  return { pssBytes, rssBytes };
}

export function readUsage(pids: readonly number[], options: CpuOptions = {}): Usage {
  return { ...readCpu(pids, options), ...readMemory(pids) };
}

/** The CPU time between two readings of the same processes. */
export function cpuBetween(before: CpuUsage, after: CpuUsage): CpuUsage {
  return {
    cpuMs: after.cpuMs - before.cpuMs,
    userMs: after.userMs - before.userMs,
    systemMs: after.systemMs - before.systemMs,
  };
}

export interface ProcessTimes {
  readonly userMs: number;
  readonly systemMs: number;
  readonly endedChildrenUserMs: number;
  readonly endedChildrenSystemMs: number;
}

/** Fields 14 to 17 of proc_pid_stat(5), counted from 1. */
const FIRST_TIME_FIELD = 14;
/** The first field after the name; the name is field 2. */
const FIRST_FIELD_AFTER_NAME = 3;

/** Reads `/proc/<pid>/stat`. The name stands in parentheses and may itself hold spaces and parentheses. */
export function parseStat(text: string): ProcessTimes {
  const fields = text
    .slice(text.lastIndexOf(")") + 1)
    .trim()
    .split(" ");
  const timeMs = (index: number): number => {
    const ticks = Number(fields[FIRST_TIME_FIELD - FIRST_FIELD_AFTER_NAME + index] ?? "missing");
    if (!Number.isInteger(ticks)) throw new Error(`this is no /proc/<pid>/stat: ${JSON.stringify(text)}`);
    return ticks * TICK_MS;
  };
  return {
    userMs: timeMs(0),
    systemMs: timeMs(1),
    endedChildrenUserMs: timeMs(2),
    endedChildrenSystemMs: timeMs(3),
  };
}

/** Reads `/proc/<pid>/smaps_rollup`. */
export function parseSmapsRollup(text: string): MemoryUsage {
  const bytes = (name: string): number => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
    if (kibibytes === undefined) throw new Error(`no ${name} in smaps_rollup: ${JSON.stringify(text)}`);
    return Number(kibibytes) * KIB;
  };
  return { pssBytes: bytes("Pss"), rssBytes: bytes("Rss") };
}

function readProcess(pid: number, file: "stat" | "smaps_rollup"): string {
  const path = `/proc/${pid}/${file}`;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (!existsSync(`/proc/self/${file}`)) {
      throw new Error(
        `CPU and memory of processes cannot be read here: there is no /proc/self/${file}; ` +
          "the benchmark measures on Linux (4.14 or newer) only",
        { cause: error },
      );
    }
    throw new Error(`process ${pid} cannot be measured: has it ended? (${String(error)})`, { cause: error });
  }
}
