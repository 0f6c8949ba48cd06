/**
 * The previous release as built processes, to run beside this one: its commit is unpacked into a cache folder
 * outside the checkout, uses this checkout's packages, and is built once by its own script. A clone without
 * that commit (a shallow one) cannot run what needs it, and says how to get it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CACHE_FOLDER } from "#test/support/redis-binary.js";

/** The last commit before resuming; a later release puts its predecessor here. */
export const PREVIOUS_RELEASE = "de656a61d89f";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));

/** Whether the clone has the commit. */
export function hasPreviousRelease(): boolean {
  return run("git", ["cat-file", "-e", `${PREVIOUS_RELEASE}^{commit}`], CHECKOUT) === undefined;
}

/** What to do where `hasPreviousRelease` says no. */
export const MISSING_RELEASE = `commit ${PREVIOUS_RELEASE} is not in this clone: git fetch --unshallow`;

/** The folder of its checkout, built. @throws Error that says what is missing. */
export function previousRelease(): string {
  if (!hasPreviousRelease()) throw new Error(MISSING_RELEASE);
  const folder = join(CACHE_FOLDER, `release-${PREVIOUS_RELEASE}`);
  if (existsSync(folder)) {
    linkPackages(folder);
    return folder;
  }
  // Renamed when it is built, so that an interrupted build is never taken for a release.
  const work = `${folder}-${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    console.log(`building the previous release, ${PREVIOUS_RELEASE} …`);
    assertDone(
      "unpacking",
      run("sh", ["-c", `git archive ${PREVIOUS_RELEASE} | tar -x -C "$0"`, work], CHECKOUT),
    );
    linkPackages(work);
    assertDone("building", run(process.execPath, ["scripts/build.mjs"], work));
    renameSync(work, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
}

/** The packages are this checkout's, which may not be the one that it was built in. */
function linkPackages(folder: string): void {
  const link = join(folder, "node_modules");
  rmSync(link, { force: true });
  symlinkSync(join(CHECKOUT, "node_modules"), link);
}

function assertDone(what: string, failure: string | undefined): void {
  if (failure !== undefined) throw new Error(`${what} the previous release failed:\n${failure}`);
}

/** What it said where it failed. */
function run(command: string, args: readonly string[], cwd: string): string | undefined {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" });
  return status === 0 ? undefined : `${error?.message ?? ""}${stdout}${stderr}`;
}
