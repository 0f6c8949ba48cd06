/** What comes from the environment and what from a `.env` file. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readEnvironment } from "./environment.js";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "environment-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

test("what is set wins over .env, and .env over nothing or emptiness", () => {
  writeFileSync(join(directory, ".env"), "PORT=1\nHOST=::1\n# a comment\nSERVER_ID='edge one'\n");
  expect(readEnvironment(directory, { PORT: "2", HOST: "", LOG_LEVEL: "debug" })).toEqual({
    PORT: "2",
    HOST: "::1",
    SERVER_ID: "edge one",
    LOG_LEVEL: "debug",
  });
});

test("there need be no .env", () => {
  expect(readEnvironment(directory, { PORT: "2" })).toEqual({ PORT: "2" });
});
