/** `npm run generate`: brings `proto/gen` up to date; files that did not change are not touched. */
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { differences, GENERATED, withFreshlyGenerated } from "./generated-code.mjs";

mkdirSync(GENERATED, { recursive: true });
withFreshlyGenerated((fresh) => {
  for (const { path, what } of differences(fresh, GENERATED)) {
    const target = join(GENERATED, path);
    if (what === "superfluous") {
      rmSync(target);
    } else {
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(join(fresh, path), target);
    }
    console.log(`${what === "superfluous" ? "removed" : "written"}: proto/gen/${path}`);
  }
});
