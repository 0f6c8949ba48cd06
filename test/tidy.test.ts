/**
 * Style that matters, held as tests: who may import whom, where the environment is read, how files
 * are called and opened, that nothing lies around unused, and that every code has its line in the docs.
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ERROR_KINDS } from "#proto/errors.js";
import type { SourceFile } from "./support/source-files.js";
import { CHECKOUT, importsOf, sourceFiles } from "./support/source-files.js";

const MAX_LINES = 400;
/** Files that may be longer, each with the reason. */
const LONG_FILES: Readonly<Record<string, string>> = {};

const PRODUCTION_FOLDERS = ["proto", "edge", "fanout", "services"] as const;

/** Design: the table of folders. A test beside the code may besides import `#test/support`. */
const MAY_IMPORT: Readonly<Record<(typeof PRODUCTION_FOLDERS)[number], readonly string[]>> = {
  proto: ["proto"],
  edge: ["edge", "proto"],
  fanout: ["fanout", "proto"],
  services: ["services", "edge", "fanout", "proto"],
};

/** Packages that only tests may import. */
const TEST_PACKAGES = /^vitest(\/|$)/;
/** The edge is thin: it has no store of its own. */
const STORE_CLIENTS = /^(ioredis|kafkajs)(\/|$)/;

const DRAWER = /(^|-)(utils?|helpers?|common|managers?|misc)$/;
const KEBAB_CASE = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/;

const isTest = ({ path }: SourceFile) => /\.(test|contract)\.ts$/.test(path) || path.includes("/testing/");
const isTypeScript = ({ path }: SourceFile) => path.endsWith(".ts");

const production = sourceFiles(...PRODUCTION_FOLDERS);
const all = [...production, ...sourceFiles("test")];

/** The paths of the files that break a rule: an empty list reads well in a failure. */
function offenders(files: readonly SourceFile[], breaks: (file: SourceFile) => boolean): readonly string[] {
  return files.filter(breaks).map(({ path }) => path);
}

describe("who imports whom", () => {
  test.each(PRODUCTION_FOLDERS)("%s imports only what the design's table allows it", (folder) => {
    const forbidden = production
      .filter(({ path }) => path.startsWith(`${folder}/`))
      .flatMap((file) =>
        file.references
          .filter((target) => !mayReach(folder, file, target))
          .map((target) => `${file.path} imports ${target}`),
      );
    expect(forbidden).toEqual([]);
  });

  test("only tests import what is for tests", () => {
    const code = production.filter((file) => !isTest(file));
    expect(offenders(code, ({ text }) => importsOf(text).some((name) => TEST_PACKAGES.test(name)))).toEqual(
      [],
    );
  });

  test("the edge has no Redis or Kafka client", () => {
    const edge = production.filter(({ path }) => path.startsWith("edge/"));
    expect(offenders(edge, ({ text }) => importsOf(text).some((name) => STORE_CLIENTS.test(name)))).toEqual(
      [],
    );
  });

  test("across folders one imports by #name, not by climbing", () => {
    const climbs = ({ text }: SourceFile) => importsOf(text).some((name) => name.startsWith("../../"));
    expect(offenders(all, climbs)).toEqual([]);
  });
});

function mayReach(folder: keyof typeof MAY_IMPORT, file: SourceFile, target: string): boolean {
  if (isTest(file) && target.startsWith("test/support/")) return true;
  return MAY_IMPORT[folder].some((allowed) => target.startsWith(`${allowed}/`));
}

test("only services and tests read the environment", () => {
  const others = production.filter((file) => !file.path.startsWith("services/") && !isTest(file));
  expect(offenders(others, ({ text }) => /\bprocess\.env\b/.test(text))).toEqual([]);
});

describe("files", () => {
  test(`no file is longer than ${MAX_LINES} lines`, () => {
    const lines = ({ text }: SourceFile) => text.trimEnd().split("\n").length;
    expect(offenders(all, (file) => lines(file) > MAX_LINES && !(file.path in LONG_FILES))).toEqual([]);
  });

  test("every file opens by saying what it is responsible for", () => {
    // A test's names say what it is about.
    const typeScript = all.filter((file) => isTypeScript(file) && !file.path.endsWith(".test.ts"));
    const lua = all.filter((file) => !isTypeScript(file));
    expect(offenders(typeScript, ({ text }) => !/^\/\*\*\s[\s*]*\S[^]*?\*\//.test(text))).toEqual([]);
    expect(offenders(lua, ({ text }) => !/^--+ ?\S/.test(text))).toEqual([]);
  });

  test("names are kebab-case", () => {
    const segments = ({ path }: SourceFile) => path.split("/");
    expect(offenders(all, (file) => !segments(file).every((name) => KEBAB_CASE.test(name)))).toEqual([]);
  });

  test("no file or folder is a drawer", () => {
    const names = ({ path }: SourceFile) => path.split("/").map((segment) => segment.replace(/\..*$/, ""));
    expect(offenders(all, (file) => names(file).some((name) => DRAWER.test(name)))).toEqual([]);
    expect(offenders(all, ({ path }) => basename(path) === "types.ts")).toEqual([]);
  });

  test("all production code is reached from a process's main.ts or a program that package.json runs", () => {
    const scripts = readFileSync(join(CHECKOUT, "package.json"), "utf8");
    const isProgram = ({ path }: SourceFile) =>
      /^services\/[^/]+\/main\.ts$/.test(path) || scripts.includes(` ${path} `);
    const reached = reachableFrom(production.filter(isProgram).map(({ path }) => path));
    expect(offenders(production, (file) => !isTest(file) && !reached.has(file.path))).toEqual([]);
  });

  test("everything that is for tests is reached from a test", () => {
    const tests = all.filter(({ path }) => path.endsWith(".test.ts")).map(({ path }) => path);
    const settings = readFileSync(join(CHECKOUT, "vitest.config.ts"), "utf8");
    const named = all.filter(({ path }) => settings.includes(`"${path}"`)).map(({ path }) => path);
    const reached = reachableFrom([...tests, ...named]);
    const forTests = all.filter((file) => isTest(file) || file.path.startsWith("test/"));
    expect(offenders(forTests, ({ path }) => !reached.has(path))).toEqual([]);
  });
});

function reachableFrom(entries: readonly string[]): ReadonlySet<string> {
  const files = new Map(all.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const next = [...entries];
  for (let path = next.pop(); path !== undefined; path = next.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    next.push(...(files.get(path)?.references ?? []));
  }
  return reached;
}

describe("docs/protocol.md", () => {
  const page = join(CHECKOUT, "docs/protocol.md");
  const text = existsSync(page) ? readFileSync(page, "utf8") : "";

  test("explains every error code", () => {
    expect(Object.keys(ERROR_KINDS).filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });

  test("explains every close code", () => {
    const codes = Object.values(CloseCode);
    expect(codes.filter((code) => !new RegExp(`\\b${code}\\b`).test(text))).toEqual([]);
  });
});
