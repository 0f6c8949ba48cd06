/**
 * Finds a `redis-server` (7 or newer, for sharded pub/sub) on the machine, or fetches one from the
 * package manager: installed when root, else unpacked into a cache folder of the user. What runs
 * it is `redis.ts`.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Outside the checkout, so that a fresh clone need not fetch again. */
export const CACHE_FOLDER = join(
  process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
  "realtime-gateway",
);

const UNPACKED = join(CACHE_FOLDER, "redis");
const OLDEST_MAJOR = 7;
/** What a minimal Debian may lack of redis-server's libraries comes with it. */
const PACKAGES = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1", "liblua5.1-0", "libatomic1"];

export interface RedisBinary {
  readonly command: string;
  /** What the environment must say for it to find its libraries. */
  readonly env: Readonly<Record<string, string>>;
}

/** A `redis-server` that is already here: on PATH or in the cache. */
export function findRedisBinary(): RedisBinary | undefined {
  const candidates = [
    { command: "redis-server", env: {} },
    { command: join(UNPACKED, "usr/bin/redis-server"), env: { LD_LIBRARY_PATH: libraryPath() } },
  ];
  return candidates.find((candidate) => majorVersion(candidate) >= OLDEST_MAJOR);
}

/** Fetches `redis-server` with apt-get; undefined where that is not possible. */
export function fetchRedisBinary(progress: (line: string) => void): RedisBinary | undefined {
  if (!has("apt-get") || !has("dpkg")) return undefined;
  try {
    if (process.getuid?.() === 0) {
      progress("Redis: installing redis-server with apt-get …");
      const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
      const install = ["install", "-y", "-q", "--no-install-recommends", "redis-server"];
      if (spawnSync("apt-get", install, { env, stdio: "ignore" }).status !== 0) {
        execFileSync("apt-get", ["update", "-q"], { env, stdio: "ignore" });
        execFileSync("apt-get", install, { env, stdio: "ignore" });
      }
    } else {
      unpackWithoutRoot(progress);
    }
  } catch (error) {
    progress(`Redis: apt-get failed: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  return findRedisBinary();
}

function unpackWithoutRoot(progress: (line: string) => void): void {
  progress(`Redis: fetching redis-server with apt-get download into ${UNPACKED} …`);
  const downloads = join(CACHE_FOLDER, `redis-download-${process.pid}`);
  mkdirSync(downloads, { recursive: true });
  try {
    // One by one: a name that this release does not have must not stop the others.
    for (const name of PACKAGES)
      spawnSync("apt-get", ["download", name], { cwd: downloads, stdio: "ignore" });
    mkdirSync(UNPACKED, { recursive: true });
    for (const file of readdirSync(downloads)) execFileSync("dpkg", ["-x", join(downloads, file), UNPACKED]);
  } finally {
    rmSync(downloads, { recursive: true, force: true });
  }
}

function libraryPath(): string {
  const root = join(UNPACKED, "usr/lib");
  const folders = existsSync(root) ? readdirSync(root).filter((name) => name.includes("-linux-")) : [];
  return folders.map((name) => join(root, name)).join(":");
}

function majorVersion({ command, env }: RedisBinary): number {
  const answer = spawnSync(command, ["--version"], { encoding: "utf8", env: { ...process.env, ...env } });
  const match = /v=(\d+)\./.exec(answer.status === 0 ? answer.stdout : "");
  return Number(match?.[1] ?? 0);
}

/** Whether a command is on PATH. */
export function has(command: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${command}`], { stdio: "ignore" }).status === 0;
}
