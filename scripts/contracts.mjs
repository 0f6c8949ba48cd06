/**
 * `npm run contracts`: the `.proto` files are well-formed (buf lint), break no one who was built
 * from the previous commit or the last release (buf breaking), and `proto/gen` is what they generate.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKOUT } from "./checkout.mjs";
import { buf, differences, GENERATED, withFreshlyGenerated } from "./generated-code.mjs";

const checks = [
  ["buf lint", () => buf("lint")],
  ["buf breaking against HEAD", () => (git("status", "--porcelain", "proto") ? breaksNot("HEAD") : true)],
  ["buf breaking against the previous commit", () => breaksNotPrevious()],
  ["buf breaking against the last release", () => breaksNotLastRelease()],
  ["generated code", () => isGenerated()],
];

let failed = false;
for (const [name, check] of checks) {
  if (check()) continue;
  console.error(`failed: ${name}`);
  failed = true;
}
process.exitCode = failed ? 1 : 0;

function breaksNotPrevious() {
  if (git("rev-parse", "--verify", "--quiet", "HEAD~1") !== undefined) return breaksNot("HEAD~1");
  if (git("rev-parse", "--is-shallow-repository") === "true") {
    console.warn(
      "buf breaking against the previous commit: skipped, this clone is shallow (git fetch --deepen=1)",
    );
    return true;
  }
  console.log("buf breaking against the previous commit: skipped, there is no previous commit");
  return true;
}

function breaksNotLastRelease() {
  const release = git("describe", "--tags", "--abbrev=0", "--match", "v*");
  if (release !== undefined) return breaksNot(release);
  console.log("buf breaking against the last release: skipped, there is no tag v* yet");
  return true;
}

/** Compares with the contracts of a commit, taken out of git into a folder of their own. */
function breaksNot(commit) {
  if (!git("ls-tree", "-r", "--name-only", commit, "proto/realtime")) {
    console.log(`buf breaking against ${commit}: skipped, it has no contracts`);
    return true;
  }
  const folder = mkdtempSync(join(tmpdir(), "realtime-gateway-contracts-"));
  try {
    const archive = spawnSync("git", ["archive", commit, "buf.yaml", "proto"], {
      cwd: CHECKOUT,
      maxBuffer: 64 * 1024 * 1024,
    });
    if (archive.status !== 0) throw new Error(`git archive ${commit}: ${archive.stderr}`);
    writeFileSync(join(folder, "contracts.tar"), archive.stdout);
    return buf("breaking", "--against", join(folder, "contracts.tar"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function isGenerated() {
  const wrong = withFreshlyGenerated((fresh) => differences(fresh, GENERATED));
  for (const { path, what } of wrong) console.error(`proto/gen/${path} is ${what}: npm run generate`);
  return wrong.length === 0;
}

/** What git answers, or undefined where it fails. */
function git(...args) {
  const result = spawnSync("git", args, { cwd: CHECKOUT, encoding: "utf8" });
  return result.status === 0 ? result.stdout.trim() : undefined;
}
