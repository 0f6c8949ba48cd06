/**
 * `npm start`, `npm run start:edge`, `npm run start:fanout`, `npm run token`: installs and builds
 * where needed, then becomes the process named by the first argument. It runs in this very process,
 * so that signals, exit codes and standard streams are its own.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { CHECKOUT, ensureBuilt, ensureInstalled, fail } from "./checkout.mjs";

const [name = "gateway", ...args] = process.argv.slice(2);

ensureInstalled();
ensureBuilt();

const main = join(CHECKOUT, "dist/services", name, "main.js");
if (!existsSync(main)) fail(`there is no process called ${JSON.stringify(name)}`);
process.setSourceMapsEnabled(true);
process.argv = [process.argv[0], main, ...args];
await import(pathToFileURL(main).href);
