import { describe, expect, test } from "vitest";
import { readOptions, usage, UsageError, type OptionsContext } from "./cli-options.js";

const scenario = (name: string, isByNameOnly = false) => ({
  name,
  description: `about ${name}`,
  isByNameOnly,
});

const CONTEXT: OptionsContext = {
  scenarios: [scenario("rooms"), scenario("storm"), scenario("huge", true)],
  quickScenarios: ["rooms"],
  defaultOut: "docs/benchmarks",
};

const read = (...args: readonly string[]) => readOptions(args, CONTEXT);

describe("the options", () => {
  test("without arguments are all scenarios but those that want to be named", () => {
    expect(read()).toEqual({
      isHelp: false,
      isQuick: false,
      scenarios: ["rooms", "storm"],
      rounds: undefined,
      out: "docs/benchmarks",
    });
  });

  test("--quick runs the quick ones, or those that are named", () => {
    expect(read("--quick").scenarios).toEqual(["rooms"]);
    expect(read("--quick", "--scenario", "storm").scenarios).toEqual(["storm"]);
  });

  test("--scenario takes a list, and may be repeated", () => {
    expect(read("--scenario", "huge,rooms").scenarios).toEqual(["rooms", "huge"]);
    expect(read("--scenario", "storm", "--scenario=rooms").scenarios).toEqual(["rooms", "storm"]);
  });

  test("--rounds and --out are taken", () => {
    expect(read("--rounds", "5", "--out", "/tmp/figures")).toMatchObject({ rounds: 5, out: "/tmp/figures" });
  });

  test.each(["0", "-1", "1.5", "many", ""])("--rounds=%s is refused", (rounds) => {
    expect(() => read(`--rounds=${rounds}`)).toThrow(UsageError);
  });

  test("an unknown scenario is refused with the names of those that exist", () => {
    expect(() => read("--scenario", "rooms,rain")).toThrow(
      new UsageError('there is no scenario "rain". There are rooms, storm, huge'),
    );
  });

  test.each([["--fast"], ["rooms"], ["--scenario"], ["--out"]])("%s is refused with what exists", (arg) => {
    expect(() => read(arg)).toThrow(/There are --help, --quick, --scenario, --rounds, --out$/);
    expect(() => read(arg)).toThrow(UsageError);
  });
});

test("the help names every scenario and what it is", () => {
  const text = usage(CONTEXT);
  for (const { name, description } of CONTEXT.scenarios) {
    expect(text).toContain(name);
    expect(text).toContain(description);
  }
});
