/** What every outbox promises together with the broker that fills it, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Broker, DurableEvent } from "#fanout/channel/broker.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { channelKeys } from "#fanout/redis/keys.js";
import { PARTITION_COUNT } from "#fanout/redis/partitions.js";
import { LEASE_COUNT, LEASED_PARTITIONS, leaseOf, type Outbox } from "./outbox.js";

export interface OutboxHarness {
  /** Its outbox is refused at `BOUND`. */
  readonly broker: Broker;
  /** Another one with each call, as another relay has it. */
  outbox(): Promise<Outbox>;
  close(): Promise<void>;
}

export const BOUND = 120;
const LEASE_MS = 60_000;
const ALL = { maxEntries: 1_000, maxBytes: 10_000_000 };

export function describeOutbox(name: string, makeHarness: () => Promise<OutboxHarness>): void {
  describe(name, () => {
    let harness: OutboxHarness;
    let outbox: Outbox;
    let channel: Channel;
    let partition: number;

    beforeEach(async () => {
      harness = await makeHarness();
      outbox = await harness.outbox();
      channel = channelOf(`app-${randomUUID()}`, "conversation", "c1");
      partition = channelKeys(channel).partition.index;
    });
    afterEach(() => harness.close());

    const publish = (text: string, more: Partial<DurableEvent> = {}) =>
      harness.broker.publish(channel, {
        eventId: text,
        payload: Buffer.from(text),
        idempotencyKey: text,
        outbox: { topic: "chat-events", key: "c1" },
        ...more,
      });

    async function waitingIds(): Promise<string[]> {
      return (await outbox.read(partition, ALL)).entries.map(({ eventId }) => eventId);
    }

    it("has what was published for it, in order, with all that a relay must know", async () => {
      const answer = await publish("e1");
      await publish("e2");
      if (answer.outcome === "stale") throw new Error("it was published");
      const { entries, hasMore } = await outbox.read(partition, ALL);
      expect(entries.map(({ eventId, offset }) => [eventId, offset])).toEqual([
        ["e1", 1],
        ["e2", 2],
      ]);
      expect(hasMore).toBe(false);
      expect(entries[0]).toMatchObject({
        topic: "chat-events",
        key: "c1",
        channel: channel.key,
        epoch: answer.position.epoch,
        timeMs: answer.timeMs,
      });
      expect(Buffer.from(entries[0]?.payload ?? []).toString()).toBe("e1");
    });

    it("has each event once, and nothing of events that are not for it or were dropped", async () => {
      await publish("e1", { version: { subject: "s", number: 2 } });
      await publish("e1", { version: { subject: "s", number: 2 } });
      await publish("e2", { version: { subject: "s", number: 1 } });
      await harness.broker.publish(channel, {
        eventId: "e3",
        payload: Buffer.from("e3"),
        idempotencyKey: "e3",
      });
      expect(await waitingIds()).toEqual(["e1"]);
    });

    it("reads a page bounded in entries and in bytes, but never none where something waits", async () => {
      for (let index = 0; index < 25; index++) await publish(`e${index}`, { payload: Buffer.alloc(1_000) });
      const few = await outbox.read(partition, { maxEntries: 3, maxBytes: 1_000_000 });
      expect(few.entries.map(({ eventId }) => eventId)).toEqual(["e0", "e1", "e2"]);
      expect(few.hasMore).toBe(true);
      const small = await outbox.read(partition, { maxEntries: 100, maxBytes: 15_500 });
      expect(small.entries).toHaveLength(15);
      expect(small.hasMore).toBe(true);
      expect((await outbox.read(partition, { maxEntries: 100, maxBytes: 1 })).entries).toHaveLength(1);
      const all = await outbox.read(partition, { maxEntries: 100, maxBytes: 1_000_000 });
      expect(all.entries).toHaveLength(25);
      expect(all.hasMore).toBe(false);
    });

    it("removes exactly what it is told, and once", async () => {
      for (const id of ["e1", "e2", "e3"]) await publish(id);
      const { entries } = await outbox.read(partition, ALL);
      const removed = entries.filter(({ eventId }) => eventId !== "e2");
      await outbox.remove(partition, removed);
      await outbox.remove(partition, removed);
      await outbox.remove(partition, []);
      await publish("e4");
      expect(await waitingIds()).toEqual(["e2", "e4"]);
    });

    it("counts what waits and says how old the oldest is", async () => {
      const others = [(partition + 1) % PARTITION_COUNT, partition];
      expect(await outbox.backlog(others)).toEqual([
        { count: 0, oldestAgeMs: 0 },
        { count: 0, oldestAgeMs: 0 },
      ]);
      await publish("e1");
      await publish("e2");
      await vi.waitFor(async () => {
        const [empty, full] = await outbox.backlog(others);
        expect(empty).toEqual({ count: 0, oldestAgeMs: 0 });
        expect(full?.count).toBe(2);
        expect(full?.oldestAgeMs).toBeGreaterThan(20);
        expect(full?.oldestAgeMs).toBeLessThan(10_000);
      });
    });

    it("refuses events that need it at its bound, others go on, and room that was made is used", async () => {
      for (let index = 0; index < BOUND; index++) await publish(`e${index}`);
      await expect(publish("late")).rejects.toMatchObject({ kind: "unavailable", retryAfterMs: 5_000 });
      const other = { eventId: "other", payload: Buffer.from("x"), idempotencyKey: "other" };
      expect(await harness.broker.publish(channel, other)).toMatchObject({
        position: { offset: BOUND + 1 },
      });
      // A repeat needs no room.
      expect(await publish("e3")).toMatchObject({ outcome: "repeated" });
      const { entries } = await outbox.read(partition, { maxEntries: 1, maxBytes: 1 });
      await outbox.remove(partition, entries);
      expect(await publish("late")).toMatchObject({ outcome: "published" });
    });

    it("tells listeners of its partition, and of no other, when something was published for it", async () => {
      const heard: string[] = [];
      const second = await harness.outbox();
      await outbox.listen(partition, () => heard.push("first"));
      await second.listen(partition, () => heard.push("second"));
      await second.listen((partition + 1) % PARTITION_COUNT, () => heard.push("elsewhere"));
      await harness.broker.publish(channel, { eventId: "e", payload: Buffer.from("e"), idempotencyKey: "e" });
      await publish("e1");
      await vi.waitFor(() => expect([...heard].sort()).toEqual(["first", "second"]));
      outbox.unlisten(partition);
      outbox.unlisten(partition);
      await publish("e2");
      await vi.waitFor(() => expect(heard.filter((who) => who === "second")).toHaveLength(2));
      expect(heard.filter((who) => who === "first")).toHaveLength(1);
    });

    it("gives a lease to one holder at a time, again to the same one, and to the next when it is given up", async () => {
      const other = await harness.outbox();
      expect(await outbox.take(3, "a", LEASE_MS)).toBe(true);
      expect(await other.take(3, "b", LEASE_MS)).toBe(false);
      expect(await outbox.take(3, "a", LEASE_MS)).toBe(true);
      expect(await other.take(4, "b", LEASE_MS)).toBe(true);
      await other.release(3, "b");
      expect(await other.take(3, "b", LEASE_MS)).toBe(false);
      await outbox.release(3, "a");
      expect(await other.take(3, "b", LEASE_MS)).toBe(true);
    });

    it("renews a lease for its holder alone, and not once it has expired", async () => {
      const other = await harness.outbox();
      expect(await outbox.renew(0, "a", LEASE_MS)).toBe(false);
      await outbox.take(0, "a", LEASE_MS);
      expect(await outbox.renew(0, "a", LEASE_MS)).toBe(true);
      expect(await other.renew(0, "b", LEASE_MS)).toBe(false);
      expect(await other.take(0, "b", LEASE_MS)).toBe(false);
      expect(await outbox.renew(0, "a", 30)).toBe(true);
      await vi.waitFor(async () => expect(await other.take(0, "b", LEASE_MS)).toBe(true), { timeout: 5_000 });
      expect(await outbox.renew(0, "a", LEASE_MS)).toBe(false);
    });

    it("has leases for every partition once", async () => {
      expect(LEASED_PARTITIONS).toHaveLength(LEASE_COUNT);
      expect(LEASED_PARTITIONS.flat()).toEqual(Array.from({ length: PARTITION_COUNT }, (_, index) => index));
      for (const [lease, partitions] of LEASED_PARTITIONS.entries()) {
        expect(partitions.map(leaseOf)).toEqual(partitions.map(() => lease));
        expect(await outbox.take(lease, "a", LEASE_MS)).toBe(true);
      }
    });
  });
}
