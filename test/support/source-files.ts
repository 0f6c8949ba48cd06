/** The checkout's own source files, for tests that hold the code against its rules. */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";

export const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));

export interface SourceFile {
  /** From the checkout's root, as in `edge/socket/connection.ts`. */
  readonly path: string;
  readonly text: string;
  /** Checkout paths of the `.ts` files that it imports and the `.lua` files that it names. */
  readonly references: readonly string[];
}

const IMPORT = /(?:\bfrom|\bimport\(|^\s*import)\s*["']([^"']+)["']/gm;
const LUA_PATH = /["'`](\.[^"'`]+\.lua)["'`]/g;
const GENERATED = "/gen/";

/** All `.ts` and `.lua` files of the named folders, without generated code. */
export function sourceFiles(...folders: readonly string[]): readonly SourceFile[] {
  return folders
    .flatMap((folder) => [...filesIn(folder)])
    .filter((path) => /\.(ts|lua)$/.test(path) && !path.includes(GENERATED))
    .map((path) => {
      const text = readFileSync(join(CHECKOUT, path), "utf8");
      return { path, text, references: referencesOf(path, text) };
    });
}

/** What the file imports, as written. */
export function importsOf(text: string): readonly string[] {
  return [...text.matchAll(IMPORT)].map(([, specifier]) => specifier ?? "");
}

function referencesOf(path: string, text: string): readonly string[] {
  const scripts = [...text.matchAll(LUA_PATH)].map(([, specifier]) => specifier ?? "");
  return [...importsOf(text), ...scripts].flatMap((specifier) => resolve(path, specifier) ?? []);
}

function resolve(from: string, specifier: string): string | undefined {
  const target = specifier.startsWith("#")
    ? specifier.slice(1)
    : specifier.startsWith(".")
      ? posix.join(posix.dirname(from), specifier)
      : undefined;
  return target?.replace(/\.js$/, ".ts");
}

function* filesIn(folder: string): Generator<string> {
  for (const entry of readdirSync(join(CHECKOUT, folder), { withFileTypes: true })) {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) yield* filesIn(path);
    else yield path;
  }
}
