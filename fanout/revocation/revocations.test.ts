import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { SILENT } from "#test/support/fanout-core.js";
import { FanoutCounters } from "../fanout-counters.js";
import type { Revocation } from "./revocation.js";
import type { RevocationLog } from "./revocation-log.js";
import { MemoryRevocationStore } from "./revocation-store-memory.js";
import type { RevocationListener, RevocationStore } from "./revocation-store.js";
import { Revocations } from "./revocations.js";

const START_MS = 1_700_000_000_500;
const LIFETIME_MS = 3_600_000;
const KEPT_MS = LIFETIME_MS + 600_000;

let nowMs: number;
let memory: MemoryRevocationStore;
let isAway: boolean;
let isDeaf: boolean;
let listeners: RevocationListener[];
let told: Revocation[];
let counters: FanoutCounters;

const clock = { nowUs: () => nowMs * 1000 };
const away = (): Promise<never> => Promise.reject(new GatewayError("unavailable", "away"));

beforeEach(() => {
  nowMs = START_MS;
  memory = new MemoryRevocationStore({ clock });
  isAway = false;
  isDeaf = false;
  listeners = [];
  told = [];
  counters = new FanoutCounters();
});

afterEach(() => vi.useRealTimers());

/** The memory that is there now, which may be away, and may forget to say something. */
const store: RevocationStore = {
  add: (revocations) => (isAway ? away() : memory.add(revocations)),
  since: (mark) => (isAway ? away() : memory.since(mark)),
  listen: (listener) => {
    if (isAway) return away();
    listeners.push(listener);
    const added = (): void => {
      if (!isDeaf) listener.added();
    };
    return memory.listen({ ...listener, added });
  },
  close: () => undefined,
};

function revocations(log?: RevocationLog): Revocations {
  return new Revocations({
    store,
    ...(log && { log }),
    clock,
    maxTokenLifetimeMs: LIFETIME_MS,
    maxRevocations: 100,
    onRevoked: (news) => told.push(...news),
    counters,
    logger: SILENT,
  });
}

const token = (tokenId: string) => ({
  app: "a",
  userId: "u1",
  tokenId,
  issuedAt: Math.floor(START_MS / 1000),
});
const revokeToken = (id: string) => ({ app: "a", subject: "token", id, issuedBeforeMs: 0 }) as const;
const ofToken = (id: string): Revocation => ({ ...revokeToken(id), expiresAtMs: START_MS + KEPT_MS });

describe("revoking", () => {
  it("counts here at once, is told, and is kept a little longer than any token lives", async () => {
    const here = revocations();
    expect(await here.revoke([revokeToken("t1")])).toEqual([{ expiresAtMs: START_MS + KEPT_MS }]);
    expect(here.revokes(token("t1"))).toBe(true);
    expect(told).toEqual([ofToken("t1")]);
    nowMs += KEPT_MS;
    expect(here.revokes(token("t1"))).toBe(false);
    expect(counters.revocationsMade).toBe(1);
  });

  it("a user without a time means all tokens up to now, those of this second included", async () => {
    const here = revocations();
    await here.revoke([{ app: "a", subject: "user", id: "u1", issuedBeforeMs: 0 }]);
    expect(here.revokes(token(""))).toBe(true);
    expect(here.revokes({ ...token(""), issuedAt: Math.floor(START_MS / 1000) + 1 })).toBe(false);
  });

  it("fails as a whole while the store is away, and then nothing counts", async () => {
    const here = revocations();
    isAway = true;
    await expect(here.revoke([revokeToken("t1")])).rejects.toMatchObject({ kind: "unavailable" });
    expect(here.revokes(token("t1"))).toBe(false);
  });

  it("says which were too many", async () => {
    memory = new MemoryRevocationStore({ clock, maxRevocations: 1 });
    const outcomes = await revocations().revoke([revokeToken("t1"), revokeToken("t2")]);
    expect(outcomes).toMatchObject([
      { expiresAtMs: START_MS + KEPT_MS },
      { error: { kind: "rate_limited" } },
    ]);
    expect(told).toEqual([ofToken("t1")]);
  });
});

describe("what was revoked elsewhere", () => {
  it("counts as soon as the store says that there is something", async () => {
    const here = revocations();
    await here.tick();
    await memory.add([ofToken("t1")]);
    await vi.waitFor(() => expect(told).toEqual([ofToken("t1")]));
    expect(here.revokes(token("t1"))).toBe(true);
  });

  it("is found with the next look where the store's word was lost", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    isDeaf = true;
    const here = revocations();
    here.start();
    await here.loaded();
    await memory.add([ofToken("t1")]);
    expect(here.revokes(token("t1"))).toBe(false);
    await vi.advanceTimersByTimeAsync(1000);
    expect(here.revokes(token("t1"))).toBe(true);
    await here.stop();
  });

  it("is known once it is loaded; while the store is away that fails", async () => {
    await memory.add([ofToken("t1")]);
    const here = revocations();
    isAway = true;
    await expect(here.loaded()).rejects.toMatchObject({ kind: "unavailable" });
    isAway = false;
    await here.loaded();
    expect(here.revokes(token("t1"))).toBe(true);
  });

  it("counts on while the store is away, and what came meanwhile when it is back", async () => {
    const here = revocations();
    await memory.add([ofToken("t1")]);
    await here.tick();
    isAway = true;
    await memory.add([ofToken("t2")]);
    await here.tick();
    expect(here.revokes(token("t1"))).toBe(true);
    expect(counters.storeFailures).toBeGreaterThan(0);
    isAway = false;
    await here.tick();
    expect(here.revokes(token("t2"))).toBe(true);
  });
});

describe("a store that lost its data", () => {
  const stored = async () => (await memory.since(undefined)).revocations;

  it("is given back what is known here", async () => {
    const here = revocations();
    await here.revoke([revokeToken("t1")]);
    await here.tick();
    memory = new MemoryRevocationStore({ clock });
    await memory.add([ofToken("t2")]);
    await here.tick();
    expect(here.revokes(token("t2"))).toBe(true);
    expect(new Set((await stored()).map(({ id }) => id))).toEqual(new Set(["t1", "t2"]));
  });

  it("is compared as a whole after an interruption: it may lack what it had", async () => {
    const here = revocations();
    await here.revoke([revokeToken("t1")]);
    await here.tick();
    const [listener] = listeners;
    // An older copy to which as much was added since: the mark does not show it.
    const { mark } = await memory.since(undefined);
    memory = new MemoryRevocationStore({ clock });
    const older = memory;
    vi.spyOn(older, "since").mockImplementation(async (asked) => {
      const isWhole = asked === undefined;
      return { mark, isWhole, revocations: isWhole ? [ofToken("t2")] : [] };
    });
    await here.tick();
    expect(here.revokes(token("t2"))).toBe(false);
    listener?.interrupted();
    await vi.waitFor(() => expect(here.revokes(token("t2"))).toBe(true));
    vi.restoreAllMocks();
    await here.tick();
    expect((await stored()).map(({ id }) => id)).toContain("t1");
  });
});

describe("the log", () => {
  let appended: Revocation[];
  let isLogAway: boolean;
  let isCaughtUp: boolean;
  let heard: (revocations: readonly Revocation[]) => void;

  const log: RevocationLog = {
    start: async (handler) => void (heard = handler),
    isCaughtUp: () => isCaughtUp,
    append: async (news) => {
      if (isLogAway) throw new GatewayError("unavailable", "away");
      appended.push(...news);
    },
    stop: async () => undefined,
  };

  beforeEach(() => {
    appended = [];
    isLogAway = false;
    isCaughtUp = true;
    heard = () => undefined;
  });

  it("gets what is revoked, and what it did not take is appended later", async () => {
    const here = revocations(log);
    isLogAway = true;
    await here.revoke([revokeToken("t1")]);
    expect(here.unlogged).toBe(1);
    isLogAway = false;
    await here.tick();
    expect(appended).toEqual([]);
    nowMs += 5000;
    await here.tick();
    expect(appended).toEqual([ofToken("t1")]);
    nowMs += 5000;
    await here.tick();
    expect([appended.length, here.unlogged]).toEqual([1, 0]);
  });

  it("gets what another fanout could not append, but not before it was read whole", async () => {
    const here = revocations(log);
    isCaughtUp = false;
    await memory.add([ofToken("t1"), ofToken("t2")]);
    await here.tick();
    await here.startLog();
    nowMs += 5000;
    await here.tick();
    expect(appended).toEqual([]);
    heard([ofToken("t1")]);
    isCaughtUp = true;
    nowMs += 5000;
    await here.tick();
    expect(appended).toEqual([ofToken("t2")]);
  });

  it("counts, and goes into a store that does not have it", async () => {
    const here = revocations(log);
    await here.startLog();
    await here.tick();
    heard([ofToken("t1")]);
    expect(here.revokes(token("t1"))).toBe(true);
    expect(told).toEqual([ofToken("t1")]);
    isAway = true;
    await here.tick();
    isAway = false;
    await here.tick();
    expect((await memory.since(undefined)).revocations).toEqual([ofToken("t1")]);
    expect(appended).toEqual([]);
  });

  it("is counted where there is no room for it", async () => {
    const here = revocations(log);
    await here.startLog();
    heard(Array.from({ length: 102 }, (_, index) => ofToken(`t${index}`)));
    expect([here.size, here.overflows, here.revokes(token("t101"))]).toEqual([100, 2, false]);
  });
});
