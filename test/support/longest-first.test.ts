import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { LONGEST } from "./longest-first.js";

it("names test files that there are", () => {
  const checkout = fileURLToPath(new URL("../..", import.meta.url));
  expect(LONGEST.filter((name) => !existsSync(checkout + name))).toEqual([]);
});
