import { afterEach, expect, test, vi } from "vitest";
import { main } from "./bench.js";
import { SCENARIOS } from "./scenarios/catalogue.js";

afterEach(() => vi.restoreAllMocks());

/** What it writes where, without running anything. */
async function said(...args: readonly string[]) {
  const log = vi.spyOn(console, "log").mockReturnValue(undefined);
  const error = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const code = await main(args);
  return { code, out: log.mock.calls.flat().join("\n"), progress: error.mock.calls.flat().join("\n") };
}

test("--help says which scenarios there are", async () => {
  const { code, out } = await said("--help");
  expect(code).toBe(0);
  for (const { name } of SCENARIOS) expect(out).toContain(name);
});

test("an unknown scenario ends it before anything is run", async () => {
  const { code, out, progress } = await said("--scenario", "rain");
  expect(code).toBe(2);
  expect(out).toBe("");
  expect(progress).toContain('no scenario "rain"');
  expect(progress).toContain("order-rooms");
});
