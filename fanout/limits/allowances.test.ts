import { beforeEach, describe, expect, it } from "vitest";
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { FanoutCounters } from "../fanout-counters.js";
import { Allowances } from "./allowances.js";
import { MemoryLimits } from "./limits-memory.js";
import { classOf, DEFAULT_RATE_LIMITS, FRAME_CLASSES, type FrameClass } from "./rate-limits.js";
import type { SessionAllowance } from "./session-allowance.js";

const RATE_LIMITS = {
  ...DEFAULT_RATE_LIMITS,
  byRole: new Map([["porter", { location: { count: 2000, windowMs: 60_000 } }]]),
};

let nowMs: number;
let allowances: Allowances;

beforeEach(() => {
  nowMs = 0;
  allowances = homeOn(new MemoryLimits({ nowMs: () => nowMs }));
});

function homeOn(limits: MemoryLimits): Allowances {
  return new Allowances({
    limits,
    rateLimits: RATE_LIMITS,
    counters: new FanoutCounters(),
    nowMs: () => nowMs,
  });
}

function principal(userId: string, role = "customer", app = "app"): Principal {
  return { app, userId, role, tokenId: "", issuedAt: 0, expiresAt: 0, claimsJson: "" };
}

/** How many frames are admitted before the first refusal. */
async function drain(allowance: SessionAllowance, frameClass: FrameClass, atMost = 10_000): Promise<number> {
  for (let count = 0; count < atMost; count += 1) if ((await allowance.take(frameClass)) > 0) return count;
  return atMost;
}

describe("an allowance", () => {
  it.each([
    ["general", 100],
    ["location", 1000],
    ["chat", 50],
  ] as const)("of %s frames is shared by a user's devices: %i together", async (frameClass, count) => {
    const [first, second] = [allowances.enter(principal("u1")), allowances.enter(principal("u1"))];
    expect(await drain(first, frameClass, count / 2)).toBe(count / 2);
    expect(await drain(second, frameClass)).toBe(count / 2);
    expect(await drain(first, frameClass)).toBe(0);
    for (const other of FRAME_CLASSES.filter((each) => each !== frameClass))
      expect(await drain(second, other)).toBeGreaterThan(0);
    expect(await drain(allowances.enter(principal("u2")), frameClass)).toBe(count);
    expect(await drain(allowances.enter(principal("u1", "customer", "other")), frameClass)).toBe(count);
  });

  it("of heartbeats is each socket's own, whatever else is refused", async () => {
    const [first, second] = [allowances.enter(principal("u1")), allowances.enter(principal("u1"))];
    await drain(first, "general");
    expect(await drain(first, "ping")).toBe(120);
    expect(await drain(second, "ping")).toBe(120);
    const waitMs = await first.take("ping");
    expect(waitMs).toBe(500);
    nowMs += waitMs;
    expect(await first.take("ping")).toBe(0);
  });

  it("is the role's where the role has its own, and says how often locations may be sent", async () => {
    const [porter, driver] = [
      allowances.enter(principal("p1", "porter")),
      allowances.enter(principal("d1", "driver")),
    ];
    expect([porter.locationIntervalMs, driver.locationIntervalMs]).toEqual([30, 60]);
    expect(await drain(porter, "location")).toBe(2000);
    expect(await drain(porter, "chat")).toBe(50);
    expect(await drain(driver, "location")).toBe(1000);
  });

  it("of a user with two roles is drawn from one bucket", async () => {
    const porter = allowances.enter(principal("u1", "porter"));
    expect(await drain(porter, "location", 1000)).toBe(1000);
    expect(await drain(allowances.enter(principal("u1")), "location")).toBe(0);
  });
});

describe("a reconnect", () => {
  it("finds what the user had left, to the token", async () => {
    for (let round = 0; round < 10; round += 1) {
      const user = principal("u1");
      expect(await drain(allowances.enter(user), "location", 100)).toBe(100);
      allowances.leave(user);
    }
    expect(await drain(allowances.enter(principal("u1")), "location")).toBe(0);
  });

  it("at another home gets no fresh bucket: the leases of the one before are lost", async () => {
    const limits = new MemoryLimits({ nowMs: () => nowMs });
    const [before, after] = [homeOn(limits), homeOn(limits)];
    expect(await drain(before.enter(principal("u1")), "location", 400)).toBe(400);
    const rest = await drain(after.enter(principal("u1")), "location");
    expect(rest).toBeGreaterThanOrEqual(550);
    expect(rest).toBeLessThanOrEqual(600);
  });
});

describe("users", () => {
  it("are remembered while a session is here, and until their buckets are full again", () => {
    const [user, other] = [principal("u1"), principal("u2")];
    const come = (): void => void allowances.enter(other);
    const go = (): void => allowances.leave(other);
    allowances.enter(user);
    allowances.enter(user);
    allowances.leave(user);
    nowMs += 600_000;
    come();
    go();
    expect(allowances.users).toBe(2);
    allowances.leave(user);
    come();
    nowMs += 59_999;
    go();
    expect(allowances.users).toBe(2);
    nowMs += 1;
    come();
    go();
    expect(allowances.users).toBe(1);
  });

  it("who are gone are bounded: the first who went are forgotten", () => {
    for (let index = 0; index < 100_010; index += 1) {
      const user = principal(`u${index}`);
      allowances.enter(user);
      allowances.leave(user);
    }
    expect(allowances.users).toBe(100_000);
  });
});

describe("a flood", () => {
  it("is so many refusals in a window, told once in each", () => {
    const allowance = allowances.enter(principal("u1"));
    const told = (refusals: number): number =>
      Array.from({ length: refusals }, () => allowance.refused()).filter(Boolean).length;
    expect(told(99)).toBe(0);
    nowMs += 10_000;
    expect(told(99)).toBe(0);
    nowMs += 9_999;
    expect(told(1)).toBe(1);
    expect(told(1000)).toBe(0);
    nowMs += 1;
    expect(told(100)).toBe(1);
  });
});

it("every body has a class, and what cannot be read one too", () => {
  expect(classOf("locationUpdate")).toBe("location");
  expect(["chatSend", "chatEdit", "chatDelete"].map((body) => classOf(body as "chatSend"))).toEqual(
    Array(3).fill("chat"),
  );
  expect(classOf("ping")).toBe("ping");
  expect(classOf("custom")).toBe("general");
  expect(classOf(undefined)).toBe("general");
});
