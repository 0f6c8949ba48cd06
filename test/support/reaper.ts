/**
 * Nothing that tests start outlives them: a small process of its own (`reaper.mjs`) knows what this
 * process has started and cleans up when this process ends, also by SIGINT or `kill -9`. Stopping
 * things in `afterAll` stays the tests' duty; this is the net below.
 */
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";

let reaper: Writable | undefined;

/** Kills the process when this one ends. */
export function reapProcess(pid: number): void {
  tell(`pid ${pid}`);
}

/** To be called when the process has ended: its number may be another's soon. */
export function forgetProcess(pid: number): void {
  tell(`forget ${pid}`);
}

/** A new temporary folder that is removed when this process ends. */
export function temporaryFolder(purpose: string): string {
  const folder = mkdtempSync(join(tmpdir(), `realtime-gateway-${purpose}-`));
  tell(`folder ${folder}`);
  return folder;
}

function tell(line: string): void {
  reaper ??= startReaper();
  reaper.write(`${line}\n`);
}

function startReaper(): Writable {
  // Detached: an interrupt from the terminal must not end it before it has cleaned up.
  const child = spawn(process.execPath, [fileURLToPath(new URL("./reaper.mjs", import.meta.url))], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  child.unref();
  if (child.stdin instanceof Socket) child.stdin.unref();
  return child.stdin;
}
