/** The net below all tests: a process that dies without a word leaves no process and no folder behind. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { waitFor } from "./wait-for.js";

const OWNER = `
  import { GuardedProcess } from "#test/support/guarded-process.js";
  import { temporaryFolder } from "#test/support/reaper.js";
  const idle = ["-e", "setInterval(() => undefined, 1000)"];
  const child = new GuardedProcess({ name: "idle", command: process.execPath, args: idle, env: {} });
  console.log(JSON.stringify({ pid: child.pid, folder: temporaryFolder("reaper-test") }));
`;

const checkout = fileURLToPath(new URL("../..", import.meta.url));

test.each(["SIGKILL", "SIGINT", "SIGTERM"] as const)(
  "what a process started and made is gone after its %s",
  { timeout: 20_000 },
  async (signal) => {
    const args = ["--conditions=development", "--import", "tsx", "--input-type=module", "-e", OWNER];
    const owner = spawn(process.execPath, args, { cwd: checkout, stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(createInterface({ input: owner.stdout }), "line")) as [string];
    const { pid, folder } = JSON.parse(line) as { pid: number; folder: string };
    expect(isAlive(pid)).toBe(true);
    expect(existsSync(folder)).toBe(true);

    owner.kill(signal);
    await waitFor(() => !isAlive(pid), { what: "the child's end" });
    await waitFor(() => !existsSync(folder), { what: "the folder's removal" });
  },
);

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
