import { expect, test } from "vitest";
import { busyCpuSeconds, machineText, parseBusyCpuSeconds, thisMachine } from "./machine.js";

test("the machine is told in one line, its processor and Node's version included", () => {
  const machine = thisMachine();
  const text = machineText(machine);
  expect(text).toContain(machine.cpuModel);
  expect(text).toContain(process.version);
  expect(text).toContain(`${machine.cores} cores`);
});

test("busy is all but idle and waiting for a disk", () => {
  const stat = "cpu  100 20 30 90000 80000 4 5 6 7 8\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
  expect(parseBusyCpuSeconds(stat)).toBeCloseTo(1.65);
});

test("what is no such file is an error and not idle", () => {
  expect(() => parseBusyCpuSeconds("intr 1 2 3")).toThrow("no /proc/stat");
});

test("this machine has done something", () => {
  expect(busyCpuSeconds()).toBeGreaterThan(0);
});
