/** `npm run build`: compiles to `dist` and copies the files that are read at run time. `--if-stale` builds only where sources changed. */
import { build, ensureBuilt } from "./checkout.mjs";

if (process.argv.includes("--if-stale")) ensureBuilt();
else build();
