/**
 * The environment that the processes of this folder start with: what is really set, and below it what a
 * `.env` file in the working directory says. The only reader of `process.env`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import type { Environment } from "./environment-reader.js";

/** @throws where there is a `.env` file that cannot be read. */
export function readEnvironment(
  directory: string = process.cwd(),
  set: Environment = process.env,
): Environment {
  return { ...readEnvFile(join(directory, ".env")), ...withoutEmpty(set) };
}

function readEnvFile(path: string): Environment {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return {};
    throw error;
  }
  return { ...parseEnv(content) };
}

/** What is set to nothing hides nothing. */
function withoutEmpty(set: Environment): Environment {
  return Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined && value !== ""));
}
