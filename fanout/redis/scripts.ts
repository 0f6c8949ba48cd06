/**
 * Lua scripts: read once from the `.lua` files beside the code that uses them (the build copies these to the
 * same relative place), and known to Redis by their SHA-1.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

export interface RedisScript {
  readonly source: string;
  readonly sha1: string;
}

/** Loads a script by its path relative to the module: `loadScript(import.meta.url, "./lua/x.lua")`. */
export function loadScript(moduleUrl: string, path: string): RedisScript {
  const source = readFileSync(new URL(path, moduleUrl), "utf8");
  return { source, sha1: createHash("sha1").update(source).digest("hex") };
}
