import { describe, expect, test } from "vitest";
import { highestRate } from "./rate-search.js";

/** A contestant that holds rates up to a limit; notes what was tried. */
async function searched(limit: number) {
  const tried: number[] = [];
  const found = await highestRate({ first: 1000, factor: 1.5, lowest: 400, highest: 5000 }, async (rate) => {
    tried.push(rate);
    return rate <= limit ? { holds: true, evidence: `at ${rate}` } : { holds: false, reason: `${rate}!` };
  });
  return { tried, ...found };
}

describe("the search for the highest rate", () => {
  test("goes up until a rate does not hold, then tries once between", async () => {
    expect(await searched(2000)).toEqual({
      tried: [1000, 1500, 2250, 1875],
      best: { rate: 1875, evidence: "at 1875" },
      limit: "2250!",
    });
  });

  test("keeps the last that held where the one between does not", async () => {
    expect(await searched(1500)).toMatchObject({ tried: [1000, 1500, 2250, 1875], best: { rate: 1500 } });
  });

  test("goes down where the first does not hold, then tries once between", async () => {
    expect(await searched(500)).toMatchObject({ tried: [1000, 667, 445, 556], best: { rate: 445 } });
  });

  test("has found nothing where not even the lowest holds", async () => {
    expect(await searched(100)).toEqual({ tried: [1000, 667, 445], best: undefined, limit: "445!" });
  });

  test("ends at the highest that may be tried", async () => {
    expect(await searched(1e9)).toEqual({
      tried: [1000, 1500, 2250, 3375],
      best: { rate: 3375, evidence: "at 3375" },
      limit: undefined,
    });
  });
});
