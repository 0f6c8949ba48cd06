/**
 * What every broker promises of the events that it keeps: a part of `broker.contract.ts`, which gives it two
 * brokers on one store and a channel that nobody else uses.
 */
import { describe, expect, it } from "vitest";
import { eventTag } from "#proto/event-tag.js";
import type { Broker, DurableEvent } from "./broker.js";
import type { Channel } from "./channel.js";
import { CHANNEL_KINDS } from "./channel-kinds.js";

function bytes(text: string): Uint8Array {
  return Buffer.from(text, "utf8");
}

function event(text: string): DurableEvent {
  return { eventId: text, payload: bytes(text), idempotencyKey: text };
}

export function describeHistory(
  stage: () => { readonly broker: Broker; readonly other: Broker; readonly order: Channel },
): void {
  describe("stored events", () => {
    it("are read back in pages, oldest first", async () => {
      const { broker, other, order } = stage();
      for (let index = 1; index <= 5; index++) await broker.publish(order, event(`e${index}`));
      const page = await other.history(order, { afterOffset: 1, limit: 2 });
      expect(page.map(({ position, payload }) => [position.offset, Buffer.from(payload).toString()])).toEqual(
        [
          [2, "e2"],
          [3, "e3"],
        ],
      );
      expect(page[0]?.position).toEqual({ ...page[0]?.position, tag: eventTag("e2") });
      expect(await other.history(order, { afterOffset: 3, limit: 10 })).toHaveLength(2);
      expect(await other.history(order, { afterOffset: 5, limit: 10 })).toEqual([]);
      expect(await other.history(order, { afterOffset: 99, limit: 10 })).toEqual([]);
      expect(await other.history(order, { afterOffset: 0, limit: 0 })).toEqual([]);
    });

    it("are read back in pages, newest first", async () => {
      const { broker, other, order } = stage();
      for (let index = 1; index <= 5; index++) await broker.publish(order, event(`e${index}`));
      const before = async (beforeOffset: number, limit: number) => {
        const events = await other.history(order, { beforeOffset, limit });
        return events.map(({ position, payload }) => [position.offset, Buffer.from(payload).toString()]);
      };
      expect(await before(4, 2)).toEqual([
        [3, "e3"],
        [2, "e2"],
      ]);
      expect(await before(Infinity, 2)).toEqual([
        [5, "e5"],
        [4, "e4"],
      ]);
      expect(await before(2, 10)).toEqual([[1, "e1"]]);
      expect(await before(Number.MAX_SAFE_INTEGER, 10)).toHaveLength(5);
      for (const [beforeOffset, limit] of [
        [1, 10],
        [0, 10],
        [-1, 10],
        [6, 0],
      ] as const) {
        expect(await before(beforeOffset, limit)).toEqual([]);
      }
      const [newest] = await other.history(order, { beforeOffset: 6, limit: 1 });
      expect(newest?.position).toEqual((await other.state(order)).position);
    });

    it("are read up to the one with which they are more than the bytes asked for, in both directions", async () => {
      const { broker, other, order } = stage();
      const count = 25;
      for (let index = 1; index <= count; index++) {
        await broker.publish(order, { ...event(`e${index}`), payload: bytes("x".repeat(10)) });
      }
      const read = async (maxBytes: number, limit = 100) => {
        const forward = await other.history(order, { afterOffset: 0, limit, maxBytes });
        const backward = await other.history(order, { beforeOffset: Infinity, limit, maxBytes });
        expect(backward.map(({ position }) => count + 1 - position.offset)).toEqual(
          forward.map(({ position }) => position.offset),
        );
        return forward.map(({ position }) => position.offset);
      };
      const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
      expect(await read(0)).toEqual(upTo(1));
      expect(await read(9)).toEqual(upTo(1));
      expect(await read(10)).toEqual(upTo(2));
      expect(await read(119)).toEqual(upTo(12));
      expect(await read(120)).toEqual(upTo(13));
      expect(await read(120, 12)).toEqual(upTo(12));
      expect(await read(249)).toEqual(upTo(25));
      expect(await read(10_000)).toEqual(upTo(25));
    });

    it("of a channel without any are an empty page, in both directions", async () => {
      const { broker, order } = stage();
      expect(await broker.history(order, { afterOffset: 0, limit: 10 })).toEqual([]);
      expect(await broker.history(order, { afterOffset: 7, limit: 10 })).toEqual([]);
      expect(await broker.history(order, { beforeOffset: 7, limit: 10 })).toEqual([]);
      expect(await broker.history(order, { beforeOffset: Infinity, limit: 10 })).toEqual([]);
      // A latest value is no event.
      await broker.update(order, { key: "location:p1", version: 1, payload: bytes("here") });
      expect(await broker.history(order, { beforeOffset: Infinity, limit: 10 })).toEqual([]);
    });

    it("of a new epoch do not mix with those of the old one, in both directions", async () => {
      const { broker, other, order } = stage();
      for (let index = 1; index <= 3; index++) await broker.publish(order, event(`e${index}`));
      const { position: forked } = await broker.state(order);
      const rotated = await other.rotate(order, forked);
      expect(rotated).toMatchObject({ offset: 0, tag: 0 });
      expect(rotated.epoch).not.toBe(forked.epoch);
      expect(await broker.history(order, { beforeOffset: Infinity, limit: 10 })).toEqual([]);
      await broker.publish(order, event("e4"));
      for (const range of [{ afterOffset: 0 }, { beforeOffset: Infinity }]) {
        const events = await other.history(order, { ...range, limit: 10 });
        expect(events.map(({ position }) => position)).toEqual([
          { epoch: rotated.epoch, offset: 1, tag: eventTag("e4") },
        ]);
      }
    });

    it("are kept as many as their kind says, and not many more", async () => {
      const { broker, other, order } = stage();
      const size = CHANNEL_KINDS.get("order")?.historySize ?? 0;
      const count = 3 * size;
      await Promise.all(
        Array.from({ length: count }, (_, index) => broker.publish(order, event(`e${index}`))),
      );
      const stored = await broker.history(order, { afterOffset: 0, limit: count });
      expect(stored.length).toBeGreaterThanOrEqual(size);
      expect(stored.length).toBeLessThanOrEqual(size + 128);
      expect(stored.at(-1)?.position.offset).toBe(count);
      const oldest = count - stored.length + 1;
      expect(stored[0]?.position.offset).toBe(oldest);
      const backward = await other.history(order, { beforeOffset: Infinity, limit: count });
      expect(backward).toEqual([...stored].reverse());
      expect(await other.history(order, { beforeOffset: oldest, limit: 10 })).toEqual([]);
    });
  });
}
