/**
 * Outlives the process that started it by a moment: reads from standard input what that process
 * has started (`pid <n>`, `forget <n>`, `folder <path>`), and when the input ends, for whatever
 * reason, kills those processes and removes those folders. Started by `reaper.ts`.
 */
import { rmSync } from "node:fs";
import { createInterface } from "node:readline";

const pids = new Set();
const folders = new Set();

for await (const line of createInterface({ input: process.stdin })) {
  const [kind, value] = [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)];
  if (kind === "pid") pids.add(Number(value));
  else if (kind === "forget") pids.delete(Number(value));
  else if (kind === "folder") folders.add(value);
}

for (const pid of pids) {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}
for (const folder of folders) {
  // The killed process may still be writing for a moment.
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}
