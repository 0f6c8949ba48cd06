/**
 * `node test/compatibility/pin.mjs`: renews the pinned contracts of the link's version 1 from `proto/gen`.
 * Only at a release; `link-v1/README.md` says why.
 */
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What the link and the frames on it need, and nothing more. */
const FILES = [
  "realtime/link/v1/link.ts",
  "realtime/client/v1/client_frame.ts",
  "realtime/client/v1/server_frame.ts",
  "realtime/client/v1/event.ts",
  "realtime/client/v1/errors.ts",
  "google/protobuf/struct.ts",
];

const generated = fileURLToPath(new URL("../../proto/gen", import.meta.url));
const pinned = fileURLToPath(new URL("link-v1/gen", import.meta.url));

rmSync(pinned, { recursive: true, force: true });
for (const file of FILES) {
  mkdirSync(dirname(join(pinned, file)), { recursive: true });
  copyFileSync(join(generated, file), join(pinned, file));
}
console.log(`pinned ${FILES.length} files in test/compatibility/link-v1/gen`);
