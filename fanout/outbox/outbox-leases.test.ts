import { beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { LEASE_COUNT, LEASED_PARTITIONS, type Outbox } from "./outbox.js";
import { MemoryOutbox, MemoryOutboxEntries } from "./outbox-memory.js";
import { LEASE_MS, OutboxLeases, RENEW_MS, SEARCH_MS } from "./outbox-leases.js";

const logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

function ignore(): void {
  // Tests look at what is held, not at the log.
}

describe("the leases of a relay", () => {
  let nowMs: number;
  let store: MemoryOutbox;
  let isAway: boolean;
  let calls: string[];

  beforeEach(() => {
    nowMs = 1_000_000;
    isAway = false;
    calls = [];
    store = new MemoryOutbox(new MemoryOutboxEntries({ nowUs: () => nowMs * 1000 }));
  });

  function leases(holder: string, first = 0): OutboxLeases {
    const ask = async <Answer>(call: string, work: () => Promise<Answer>): Promise<Answer> => {
      calls.push(call);
      if (isAway) throw new GatewayError("unavailable", "the store is away");
      return work();
    };
    const outbox: Pick<Outbox, "take" | "renew" | "release"> = {
      take: (...args) => ask("take", () => store.take(...args)),
      renew: (...args) => ask("renew", () => store.renew(...args)),
      release: (...args) => ask("release", () => store.release(...args)),
    };
    return new OutboxLeases({
      outbox,
      holder,
      logger,
      nowMs: () => nowMs,
      random: () => first / LEASE_COUNT,
    });
  }

  async function ticks(count: number, ...all: OutboxLeases[]): Promise<void> {
    for (let index = 0; index < count; index++) for (const one of all) await one.tick();
  }

  it("are taken one with each tick, until it has all", async () => {
    const alone = leases("a", 5);
    await alone.tick();
    expect(alone.count).toBe(1);
    expect(alone.partitions()).toEqual(LEASED_PARTITIONS[5]);
    await ticks(LEASE_COUNT - 1, alone);
    expect(alone.count).toBe(LEASE_COUNT);
    expect(alone.partitions()).toHaveLength(128);
    calls.length = 0;
    await ticks(10, alone);
    expect(calls).toEqual([]);
  });

  it("are shared evenly by relays that start together, and no partition is held twice", async () => {
    const all = [leases("a", 0), leases("b", 1), leases("c", 0), leases("d", 7)];
    await ticks(10, ...all);
    expect(all.map(({ count }) => count)).toEqual([2, 2, 2, 2]);
    const held = all.flatMap((one) => one.partitions());
    expect(new Set(held).size).toBe(held.length);
  });

  it("are looked for only now and then where none is free, and found when one was given up", async () => {
    const first = leases("a");
    const second = leases("b");
    await ticks(LEASE_COUNT, first);
    await second.tick();
    calls.length = 0;
    nowMs += SEARCH_MS - 1;
    await ticks(3, second);
    expect(calls).toEqual([]);
    await first.giveUp();
    expect([first.count, first.holds(0)]).toEqual([0, false]);
    nowMs += 1;
    await ticks(LEASE_COUNT, second);
    expect(second.count).toBe(LEASE_COUNT);
  });

  it("last as long as they are renewed", async () => {
    const first = leases("a");
    const second = leases("b");
    await ticks(LEASE_COUNT, first);
    for (let passedMs = 0; passedMs < 3 * LEASE_MS; passedMs += RENEW_MS) {
      nowMs += RENEW_MS;
      await ticks(1, first, second);
    }
    expect([first.count, second.count]).toEqual([LEASE_COUNT, 0]);
  });

  it("are known to be lost the moment that a frozen process wakes, before it asks anybody", async () => {
    const frozen = leases("a");
    const other = leases("b");
    await ticks(LEASE_COUNT, frozen);
    nowMs += LEASE_MS;
    expect([frozen.count, frozen.holds(0), frozen.partitions()]).toEqual([0, false, []]);
    await ticks(LEASE_COUNT, other);
    await frozen.tick();
    expect([frozen.count, other.count]).toEqual([0, LEASE_COUNT]);
  });

  it("that another relay took in the meantime are gone with the next renewal", async () => {
    const first = leases("a");
    await ticks(LEASE_COUNT, first);
    await store.release(2, "a");
    await store.take(2, "b", LEASE_MS);
    nowMs += RENEW_MS;
    await first.tick();
    expect(first.holds(2 * 16)).toBe(false);
    expect(first.count).toBe(LEASE_COUNT - 1);
  });

  it("stay valid while the store is away until their time is over, and are renewed when it is back", async () => {
    const first = leases("a");
    await ticks(LEASE_COUNT, first);
    isAway = true;
    nowMs += LEASE_MS - 1;
    await first.tick();
    expect(first.count).toBe(LEASE_COUNT);
    nowMs += 1;
    await first.tick();
    expect(first.count).toBe(0);
    isAway = false;
    nowMs += SEARCH_MS;
    await ticks(LEASE_COUNT, first);
    expect(first.count).toBe(LEASE_COUNT);
    isAway = true;
    await first.giveUp();
    expect(first.count).toBe(0);
  });

  it("count from before they were asked for, however long the answer took", async () => {
    const slow = leases("a");
    const take = store.take.bind(store);
    store.take = async (...args) => {
      const answer = await take(...args);
      nowMs += 4_000;
      return answer;
    };
    await slow.tick();
    nowMs += LEASE_MS - 4_000;
    expect(slow.holds(0)).toBe(false);
  });
});
