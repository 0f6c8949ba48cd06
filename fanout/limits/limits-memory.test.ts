/** Limits in memory: the contract, and how full buckets are forgotten. */
import { expect, it } from "vitest";
import { MemoryLimits } from "./limits-memory.js";
import { describeLimits } from "./limits.contract.js";

describeLimits("limits in memory", async () => {
  const limits = new MemoryLimits();
  return { limits: [limits, limits], close: async () => undefined };
});

it("forgets buckets that are full again with the next sweep", async () => {
  let nowMs = 0;
  const limits = new MemoryLimits({ nowMs: () => nowMs });
  const draw = { app: "app", limitClass: "chat", limit: { count: 50, windowMs: 60_000 } } as const;
  await limits.draw({ ...draw, userId: "u1", wanted: 50 });
  nowMs += 60_000;
  await limits.draw({ ...draw, userId: "u2", wanted: 1 });
  expect(limits.size).toBe(1);
});
