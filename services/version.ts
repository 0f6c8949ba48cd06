/** The release of this code, as package.json names it: for logs, `/health` and the link's hello. */
import { readFileSync } from "node:fs";

export const VERSION: string = readVersion();

/** The file is one folder above the sources and two above what is built from them. */
function readVersion(): string {
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      const manifest: unknown = JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
      if (typeof manifest === "object" && manifest !== null && "version" in manifest)
        return String(manifest.version);
    } catch {
      continue;
    }
  }
  return "unknown";
}
