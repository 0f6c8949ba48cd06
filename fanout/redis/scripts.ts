/**
 * Lua scripts: read once from the `.lua` files beside the code that uses them (the build copies these to the
 * same relative place), and known to Redis by their SHA-1.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

export interface RedisScript {
  /** The file's name without `.lua`: what operations are counted under. */
  readonly name: string;
  readonly source: string;
  readonly sha1: string;
}

/** Loads a script by its path relative to the module: `loadScript(import.meta.url, "./lua/x.lua")`. */
export function loadScript(moduleUrl: string, path: string): RedisScript {
  const source = readFileSync(new URL(path, moduleUrl), "utf8");
  return { name: basename(path, ".lua"), source, sha1: createHash("sha1").update(source).digest("hex") };
}
