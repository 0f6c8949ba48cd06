/**
 * Generates `proto/gen` from the contracts: the TypeScript code and the descriptor set that the
 * fanout and the contract tests read. `npm run generate` writes it, `npm run contracts` compares.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { CHECKOUT, run, tool } from "./checkout.mjs";

export const GENERATED = join(CHECKOUT, "proto/gen");

/** Runs buf with the plugins of this package; answers whether it succeeded. */
export function buf(...args) {
  const path = `${tool(".bin")}${delimiter}${process.env.PATH}`;
  return run(tool(".bin/buf"), args, { env: { ...process.env, PATH: path } });
}

/** Calls `use` with a folder that holds a fresh `proto/gen`, and removes it after. */
export function withFreshlyGenerated(use) {
  const folder = mkdtempSync(join(tmpdir(), "realtime-gateway-generate-"));
  try {
    const generated = join(folder, "proto/gen");
    const ok =
      buf("generate", "-o", folder) &&
      buf("build", "--exclude-source-info", "-o", join(generated, "descriptor.binpb"));
    if (!ok) throw new Error("buf could not generate the code");
    return use(generated);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Paths that differ between two folders, each with what is wrong in `actual`. */
export function differences(expected, actual) {
  const wanted = filesIn(expected);
  const present = filesIn(actual);
  return [
    ...[...wanted].filter((path) => !present.has(path)).map((path) => ({ path, what: "missing" })),
    ...[...present].filter((path) => !wanted.has(path)).map((path) => ({ path, what: "superfluous" })),
    ...[...wanted]
      .filter((path) => present.has(path))
      .filter((path) => !readFileSync(join(expected, path)).equals(readFileSync(join(actual, path))))
      .map((path) => ({ path, what: "different" })),
  ];
}

function filesIn(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return new Set(files.map((entry) => relative(folder, join(entry.parentPath, entry.name))));
}
