/** What every store of offers promises beside offers: fencing numbers, and whom offers asked. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { OffersHarness } from "./offers.contract.js";
import type { Offers } from "./offers.js";

export function describeNumbersAndAsked(name: string, makeHarness: () => Promise<OffersHarness>): void {
  describe(name, () => {
    let harness: OffersHarness;
    let offers: Offers;
    let app: string;

    beforeEach(async () => {
      harness = await makeHarness();
      offers = harness.offers;
      app = `app-${randomUUID()}`;
    });
    afterEach(() => harness.close());

    const until = (expectation: () => unknown) => vi.waitFor(expectation, { timeout: 5_000, interval: 10 });

    it("draws fencing numbers that only grow, of each subject, from any fanout", async () => {
      const numbers: number[] = [];
      for (let index = 0; index < 20; index++) {
        const at = index % 2 === 0 ? offers : harness.elsewhere;
        numbers.push(await at.nextFencingNumber(app, "42"));
      }
      expect([...numbers].sort((left, right) => left - right)).toEqual(numbers);
      expect(new Set(numbers).size).toBe(20);
      const atOnce = await Promise.all(numbers.map(() => offers.nextFencingNumber(app, "43")));
      expect(new Set(atOnce).size).toBe(20);
    });

    it("remembers what a user was asked about until its time is over, and no more than 100", async () => {
      const note = (offerId: string, forMs: number) =>
        offers.noteAsked(app, "p 1", { offerId, untilMs: Date.now() + forMs });
      expect(await offers.askedOf(app, "p 1")).toEqual([]);
      await note("short", 60_000);
      await note("long", 60_000);
      await note("long", 60_000);
      expect([...(await offers.askedOf(app, "p 1"))].sort()).toEqual(["long", "short"]);
      expect(await offers.askedOf(app, "p2")).toEqual([]);
      await note("short", 10);
      await until(async () => expect(await offers.askedOf(app, "p 1")).toEqual(["long"]));
      await offers.noteAsked(app, "p 1", { offerId: "long", untilMs: 0 });
      expect(await harness.elsewhere.askedOf(app, "p 1")).toEqual([]);
      for (let index = 0; index < 120; index++) await note(`o${index}`, 10_000 + index * 10);
      expect(await offers.askedOf(app, "p 1")).toHaveLength(100);
    });
  });
}
