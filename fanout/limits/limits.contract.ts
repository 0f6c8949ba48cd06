/** What every implementation of the limits port promises, as tests. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Draw, Drawn, Limits } from "./limits.js";
import { msUntil } from "./token-bucket.js";

export interface LimitsHarness {
  /** Two fanouts on one store. */
  readonly limits: readonly [Limits, Limits];
  close(): Promise<void>;
}

/** Nothing comes back within a test. */
const SLOW = { count: 100, windowMs: 86_400_000 };
/** A token each 10 ms. */
const QUICK = { count: 20, windowMs: 200 };

/** A timer alone may fire up to a millisecond early, and a token comes no earlier than it should. */
async function passed(durationMs: number): Promise<void> {
  const untilMs = performance.now() + durationMs;
  while (performance.now() < untilMs) await sleep(1);
}

export function describeLimits(name: string, makeHarness: () => Promise<LimitsHarness>): void {
  describe(name, () => {
    let harness: LimitsHarness;
    let here: Limits;
    let elsewhere: Limits;
    let app: string;

    beforeEach(async () => {
      harness = await makeHarness();
      [here, elsewhere] = harness.limits;
      app = `app-${randomUUID()}`;
    });
    afterEach(() => harness.close());

    function draw(limits: Limits, wanted: number, more: Partial<Draw> = {}): Promise<Drawn> {
      return limits.draw({ app, userId: "u1", limitClass: "chat", limit: SLOW, wanted, ...more });
    }

    it("grants what is wanted, then what is left, then nothing", async () => {
      expect(await draw(here, 60)).toMatchObject({ granted: 60 });
      const rest = await draw(here, 60);
      expect(rest.granted).toBe(40);
      expect(rest.left).toBeGreaterThanOrEqual(0);
      expect(rest.left).toBeLessThan(1);
      expect(await draw(here, 1)).toMatchObject({ granted: 0 });
    });

    it("is one bucket for all fanouts", async () => {
      expect(await draw(here, 70)).toMatchObject({ granted: 70 });
      expect(await draw(elsewhere, 70)).toMatchObject({ granted: 30 });
      expect(await draw(here, 1)).toMatchObject({ granted: 0 });
    });

    it("gives no token twice to draws at the same time", async () => {
      const draws = Array.from({ length: 60 }, (_, index) => draw(index % 2 === 0 ? here : elsewhere, 3));
      const granted = (await Promise.all(draws)).map((drawn) => drawn.granted);
      expect(granted.reduce((sum, each) => sum + each, 0)).toBe(100);
    });

    it("keeps classes, users and apps apart, and takes any text for an id", async () => {
      const ids = ["u1", "u2", "a:b", "{x}", "*", "a\nb", "é"];
      for (const userId of ids) expect(await draw(here, 100, { userId })).toMatchObject({ granted: 100 });
      for (const limitClass of ["general", "location"] as const)
        expect(await draw(here, 100, { limitClass })).toMatchObject({ granted: 100 });
      expect(await draw(here, 100, { app: `${app}x` })).toMatchObject({ granted: 100 });
      for (const userId of ids) expect(await draw(here, 1, { userId })).toMatchObject({ granted: 0 });
    });

    it("has tokens again when it says, and all after its window", async () => {
      const limit = QUICK;
      const { left } = await draw(here, 20, { limit });
      await passed(msUntil(5, limit, left));
      expect(await draw(elsewhere, 5, { limit })).toMatchObject({ granted: 5 });
      await passed(limit.windowMs);
      expect((await draw(here, 100, { limit })).granted).toBe(20);
    });

    it("never grants more than a full bucket and what has come since", async () => {
      const limit = QUICK;
      const startMs = performance.now();
      let granted = 0;
      while (performance.now() - startMs < 300) granted += (await draw(here, 3, { limit })).granted;
      const cameMs = performance.now() - startMs;
      // The store looks at whole milliseconds.
      expect(granted).toBeLessThanOrEqual(limit.count + ((cameMs + 1) * limit.count) / limit.windowMs);
      expect(granted).toBeGreaterThan(limit.count);
    });

    it("keeps what was spent where a role with another limit draws from it", async () => {
      const large = { ...SLOW, count: 300 };
      expect(await draw(here, 250, { limit: large })).toMatchObject({ granted: 250 });
      const small = await draw(elsewhere, 1);
      expect(small.granted).toBe(0);
      expect(small.left).toBeLessThan(-149);
      expect(await draw(here, 300, { limit: large })).toMatchObject({ granted: 50 });
    });

    it("takes limits of any size", async () => {
      const limit = { count: 1_000_000_000, windowMs: 1000 };
      expect(await draw(here, 50_000_000, { limit })).toMatchObject({ granted: 50_000_000 });
      const rare = { count: 1, windowMs: 86_400_000 };
      expect(await draw(here, 1, { limit: rare, userId: "rare" })).toMatchObject({ granted: 1 });
      const { granted, left } = await draw(here, 1, { limit: rare, userId: "rare" });
      expect(granted).toBe(0);
      expect(msUntil(1, rare, left)).toBeGreaterThan(86_000_000);
    });
  });
}
