/**
 * Makes a fresh clone runnable: installs what package-lock.json names and builds what changed.
 * Both are told by content, not by file times, which git does not keep. Progress goes to standard
 * error, so that a script's own output can be piped.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const CHECKOUT = fileURLToPath(new URL("..", import.meta.url));

const DIST = join(CHECKOUT, "dist");
const BUILT_FOLDERS = ["proto", "edge", "fanout", "services"];
/** What `tsc` leaves behind and the processes read at run time. */
const ASSETS = /\.(lua|proto|binpb)$/;
/** Holds the digest of the sources that `dist` was built from. */
const STAMP = join(DIST, ".sources");

export function progress(line) {
  process.stderr.write(`${line}\n`);
}

/** Runs a step to its end; answers whether it succeeded. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: CHECKOUT, stdio: "inherit", ...options });
  if (result.error) progress(`${command}: ${result.error.message}`);
  return result.status === 0;
}

/** The path of a tool that a package brings, for `node`. */
export function tool(path) {
  return join(CHECKOUT, "node_modules", path);
}

export function ensureInstalled() {
  if (isInstalled()) return;
  progress("Installing packages (npm ci) …");
  // Standard output is kept for the script itself.
  const ok = run("npm", ["ci", "--no-audit", "--no-fund"], { stdio: ["ignore", 2, 2] });
  if (!ok) fail("npm ci failed");
}

export function ensureBuilt() {
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === sourcesDigest()) return;
  build();
}

export function build() {
  progress("Building (tsc) …");
  const digest = sourcesDigest();
  rmSync(STAMP, { force: true });
  const ok = run(process.execPath, [tool("typescript/bin/tsc"), "-p", "tsconfig.build.json"], {
    stdio: ["ignore", 2, 2],
  });
  if (!ok) fail("the build failed");
  copyAssets();
  removeLeftovers();
  writeFileSync(STAMP, digest);
}

export function fail(reason) {
  progress(reason);
  process.exit(1);
}

/** Whether node_modules holds every package of package-lock.json in its version. */
function isInstalled() {
  try {
    const wanted = packagesOf("package-lock.json");
    const present = packagesOf("node_modules/.package-lock.json");
    return Object.entries(wanted).every(
      ([path, { version, optional }]) =>
        path === "" || present[path]?.version === version || (optional && !present[path]),
    );
  } catch {
    return false;
  }
}

function packagesOf(lockFile) {
  return JSON.parse(readFileSync(join(CHECKOUT, lockFile), "utf8")).packages;
}

function sourcesDigest() {
  const hash = createHash("sha256");
  const settings = ["package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json"];
  const sources = BUILT_FOLDERS.flatMap((folder) => [...filesIn(join(CHECKOUT, folder))]);
  for (const file of [...settings.map((name) => join(CHECKOUT, name)), ...sources.sort()]) {
    if (/\.(test|contract)\.ts$/.test(file)) continue;
    hash
      .update(`${relative(CHECKOUT, file)}\0`)
      .update(readFileSync(file))
      .update("\0");
  }
  return hash.digest("hex");
}

function copyAssets() {
  for (const folder of BUILT_FOLDERS) {
    for (const file of filesIn(join(CHECKOUT, folder))) {
      if (!ASSETS.test(file)) continue;
      const target = join(DIST, relative(CHECKOUT, file));
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(file, target);
    }
  }
}

/** A module whose source is gone must not live on in `dist`. */
function removeLeftovers() {
  for (const folder of BUILT_FOLDERS) {
    for (const file of filesIn(join(DIST, folder))) {
      const source = join(CHECKOUT, relative(DIST, file)).replace(/\.js(\.map)?$/, ".ts");
      if (!existsSync(source)) rmSync(file);
    }
  }
}

function* filesIn(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesIn(path);
    else yield path;
  }
}
