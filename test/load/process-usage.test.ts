import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { cpuBetween, parseSmapsRollup, parseStat, readCpu, readUsage } from "./process-usage.js";

/** A line of /proc/<pid>/stat; utime 1234, stime 567, cutime 89, cstime 10. */
const statOf = (name: string): string =>
  `4711 (${name}) S 1 4711 4711 0 -1 4194304 5149 5 2 3 1234 567 89 10 20 0 11 0 2303 1099 12 184467\n`;

describe("the times of a process", () => {
  test.each(["node", "tmux: server", "a) S 9 (b", "((((", "))))", ""])(
    "are found behind the name %j",
    (name) => {
      expect(parseStat(statOf(name))).toEqual({
        userMs: 12_340,
        systemMs: 5670,
        endedChildrenUserMs: 890,
        endedChildrenSystemMs: 100,
      });
    },
  );

  test.each(["", "4711 (node) S 1 2", statOf("node").replace("1234", "many")])(
    "are not made up from %j",
    (text) => {
      expect(() => parseStat(text)).toThrow("this is no /proc/<pid>/stat");
    },
  );

  test("between two readings are their difference", () => {
    const before = { cpuMs: 30, userMs: 20, systemMs: 10 };
    const after = { cpuMs: 100, userMs: 80, systemMs: 20 };
    expect(cpuBetween(before, after)).toEqual({ cpuMs: 70, userMs: 60, systemMs: 10 });
  });
});

describe("the memory of a process", () => {
  const text = [
    "5581b7a9d000-7ffd53bfe000 ---p 00000000 00:00 0    [rollup]",
    "Rss:               50000 kB",
    "Pss:               20000 kB",
    "Pss_Dirty:         11000 kB",
    "SwapPss:               7 kB",
  ].join("\n");

  test("is its proportional and its whole share", () => {
    expect(parseSmapsRollup(text)).toEqual({ pssBytes: 20_000 * 1024, rssBytes: 50_000 * 1024 });
  });

  test("is not made up where it is not told", () => {
    expect(() => parseSmapsRollup(text.replace(/^Pss: .*$/m, ""))).toThrow("no Pss in smaps_rollup");
  });
});

/** Work that the system counts: the clock of the process's own CPU time, not of the wall. */
function burnCpu(ms: number): void {
  const startUs = process.cpuUsage();
  for (;;) {
    const { user, system } = process.cpuUsage(startUs);
    if (user + system >= ms * 1000) return;
  }
}

describe.runIf(existsSync("/proc/self/smaps_rollup"))("processes of this machine", () => {
  test("are charged what they used, in all", () => {
    const before = readCpu([process.pid]);
    burnCpu(100);
    const after = readUsage([process.pid]);
    expect(cpuBetween(before, after).cpuMs).toBeGreaterThanOrEqual(80);
    const ownMs = (process.cpuUsage().user + process.cpuUsage().system) / 1000;
    expect(after.cpuMs).toBeLessThanOrEqual(ownMs + 20);
    expect(after.rssBytes).toBeGreaterThanOrEqual(after.pssBytes);
    expect(after.pssBytes).toBeGreaterThan(1_000_000);
    expect(readCpu([process.pid, process.pid]).cpuMs).toBeGreaterThanOrEqual(2 * after.cpuMs);
  });

  test("are charged for children that have ended, where asked", () => {
    const before = readCpu([process.pid], { withEndedChildren: true });
    const beforeAlone = readCpu([process.pid]);
    const work =
      "for (;;) { const { user, system } = process.cpuUsage(); if (user + system > 100_000) break; }";
    expect(spawnSync(process.execPath, ["-e", work]).status).toBe(0);
    const both = cpuBetween(before, readCpu([process.pid], { withEndedChildren: true })).cpuMs;
    const alone = cpuBetween(beforeAlone, readCpu([process.pid])).cpuMs;
    expect(both - alone).toBeGreaterThanOrEqual(80);
  });

  test("that have ended are told, not counted as nothing", () => {
    const { pid } = spawnSync(process.execPath, ["-e", ""]);
    expect(() => readUsage([pid])).toThrow(`process ${pid} cannot be measured: has it ended?`);
  });
});
