/**
 * What every broker promises, as tests. A harness gives brokers on one store, which may be different
 * processes in real life; nothing here knows which implementation it runs on.
 */
import { randomUUID } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { eventTag } from "#proto/event-tag.js";
import type { Broker, BrokerMessage, DurableEvent, LatestValue, PublishAnswer } from "./broker.js";
import { describeHistory } from "./broker-history.contract.js";
import { describeMessages } from "./broker-messages.contract.js";
import { channelOf, type Channel } from "./channel.js";
import { describeForks } from "./broker-forks.contract.js";

export interface BrokerHarness {
  /** Another broker on the same store. */
  broker(): Promise<Broker>;
  /** Closes everything that it made. */
  close(): Promise<void>;
}

const WAIT = { timeout: 5_000, interval: 5 };
const ALL_BYTES = Uint8Array.from({ length: 256 }, (_, index) => index);

function bytes(text: string): Uint8Array {
  return Buffer.from(text, "utf8");
}

function event(text: string, more: Partial<DurableEvent> = {}): DurableEvent {
  return { eventId: text, payload: bytes(text), idempotencyKey: text, ...more };
}

function positionOf(answer: PublishAnswer): { epoch: string; offset: number; tag: number } {
  if (answer.outcome === "stale") throw new Error("a position was expected, the answer was stale");
  return answer.position;
}

function offsetsOf(messages: readonly BrokerMessage[]): number[] {
  return messages.flatMap((message) => (message.type === "durable" ? [message.position.offset] : []));
}

function versionsOf(messages: readonly BrokerMessage[]): number[] {
  return messages.flatMap((message) => (message.type === "latest" ? [message.value.version] : []));
}

function signalsOf(messages: readonly BrokerMessage[]): Buffer[] {
  return messages.flatMap((message) => (message.type === "signal" ? [Buffer.from(message.signal)] : []));
}

export function describeBroker(name: string, makeHarness: () => Promise<BrokerHarness>): void {
  describe(name, () => {
    let harness: BrokerHarness;
    let broker: Broker;
    let other: Broker;
    let order: Channel;

    beforeEach(async () => {
      harness = await makeHarness();
      broker = await harness.broker();
      other = await harness.broker();
      order = channelOf(`app-${randomUUID()}`, "order", "42");
    });
    afterEach(() => harness.close());

    async function listenTo(channel: Channel, by: Broker): Promise<BrokerMessage[]> {
      const heard: BrokerMessage[] = [];
      await by.follow(channel, (message) => heard.push(message));
      return heard;
    }

    /** A message sent after all others: when it is heard, they would have been. */
    async function untilQuiet(channel: Channel, heard: readonly BrokerMessage[]): Promise<void> {
      const mark = `mark-${randomUUID()}`;
      await other.tell(channel, { signal: bytes(mark) });
      await vi.waitFor(() => {
        expect(signalsOf(heard).map((signal) => signal.toString())).toContain(mark);
      }, WAIT);
    }

    describe("durable events", () => {
      it("get the next offset, the tag of their id and a time", async () => {
        const first = await broker.publish(order, event("e1"));
        const second = await other.publish(order, event("e2"));
        expect(first).toMatchObject({ outcome: "published", position: { offset: 1, tag: eventTag("e1") } });
        expect(second).toMatchObject({ outcome: "published", position: { offset: 2, tag: eventTag("e2") } });
        expect(positionOf(second).epoch).toBe(positionOf(first).epoch);
        expect(positionOf(first).epoch).not.toBe("");
        expect(first).toHaveProperty("timeMs", expect.any(Number));
      });

      it("keep order and leave no gap when 50 are published at once by two brokers", async () => {
        const heard = await listenTo(order, broker);
        const publishes = Array.from({ length: 50 }, (_, index) =>
          (index % 2 === 0 ? broker : other).publish(order, event(`e${index}`)),
        );
        const offsets = (await Promise.all(publishes)).map((answer) => positionOf(answer).offset);
        const expected = offsets.map((_, index) => index + 1);
        expect(offsets.sort((left, right) => left - right)).toEqual(expected);
        await vi.waitFor(() => expect(offsetsOf(heard)).toEqual(expected), WAIT);
        const stored = await broker.history(order, { afterOffset: 0, limit: 100 });
        expect(stored.map(({ position }) => position.offset)).toEqual(expected);
      });

      it("have an effect once for one idempotency key, also when it comes ten times at once", async () => {
        const heard = await listenTo(order, broker);
        const answers = await Promise.all(
          Array.from({ length: 10 }, (_, index) => {
            const by = index % 2 === 0 ? broker : other;
            return by.publish(order, event(`e${index}`, { idempotencyKey: "same" }));
          }),
        );
        expect(answers.filter(({ outcome }) => outcome === "published")).toHaveLength(1);
        expect(answers.filter(({ outcome }) => outcome === "repeated")).toHaveLength(9);
        expect(new Set(answers.map((answer) => JSON.stringify(positionOf(answer)))).size).toBe(1);
        await untilQuiet(order, heard);
        expect(offsetsOf(heard)).toEqual([1]);
      });

      it("answer a repeat with the position and time of the first", async () => {
        const first = await broker.publish(order, event("e1"));
        await broker.publish(order, event("e2"));
        expect(await other.publish(order, event("e1"))).toEqual({ ...first, outcome: "repeated" });
      });

      it("take idempotency keys of any bytes for what they are", async () => {
        const keys = [
          "a",
          "a\0",
          "{a}",
          "a:b",
          "*",
          "\r\n",
          "é",
          "e\u0301",
          "💡".repeat(32),
          "x".repeat(128),
        ];
        for (const key of keys) {
          const answer = await broker.publish(order, event(`id of ${key}`, { idempotencyKey: key }));
          expect(answer.outcome).toBe("published");
        }
        for (const [index, key] of keys.entries()) {
          const answer = await other.publish(order, event("again", { idempotencyKey: key }));
          expect(answer.outcome).toBe("repeated");
          expect(positionOf(answer).offset).toBe(index + 1);
        }
      });

      it("are repeats within their channel only", async () => {
        const sibling = channelOf(order.app, "order", "43");
        await broker.publish(order, event("e1"));
        expect(await broker.publish(sibling, event("e1"))).toMatchObject({ outcome: "published" });
      });

      it("with an older or the same version of their subject are stale", async () => {
        const status = (number: number): Partial<DurableEvent> => ({
          version: { subject: "status", number },
        });
        expect((await broker.publish(order, event("v5", status(5)))).outcome).toBe("published");
        expect((await broker.publish(order, event("v4", status(4)))).outcome).toBe("stale");
        expect((await other.publish(order, event("v5 again", status(5)))).outcome).toBe("stale");
        const eta1 = event("eta1", { version: { subject: "eta", number: 1 } });
        expect((await broker.publish(order, eta1)).outcome).toBe("published");
        expect((await broker.publish(order, event("v6", status(6)))).outcome).toBe("published");
        expect(await broker.history(order, { afterOffset: 0, limit: 10 })).toHaveLength(3);
      });

      it("at or below the mark of their source are repeats", async () => {
        const at = (offset: number, index: number, source = "orders/3"): Partial<DurableEvent> => ({
          sourceMark: { source, offset, index },
        });
        expect((await broker.publish(order, event("a", at(10, 1)))).outcome).toBe("published");
        const repeat = await other.publish(order, event("b", at(10, 1)));
        expect(repeat).toMatchObject({ outcome: "repeated", position: { offset: 1 } });
        expect((await broker.publish(order, event("c", at(9, 7)))).outcome).toBe("repeated");
        expect((await broker.publish(order, event("d", at(10, 0)))).outcome).toBe("repeated");
        expect((await broker.publish(order, event("e", at(10, 2)))).outcome).toBe("published");
        expect((await broker.publish(order, event("f", at(100, 0)))).outcome).toBe("published");
        expect((await broker.publish(order, event("g", at(1, 0, "orders/4")))).outcome).toBe("published");
      });

      it("carry payloads of all byte values, also empty ones", async () => {
        const heard = await listenTo(order, other);
        await broker.publish(order, event("all", { payload: ALL_BYTES }));
        await broker.publish(order, event("none", { payload: new Uint8Array() }));
        await vi.waitFor(() => expect(heard).toHaveLength(2), WAIT);
        const stored = await broker.history(order, { afterOffset: 0, limit: 2 });
        for (const messages of [heard, stored]) {
          const payloads = messages.map((message) => ("payload" in message ? message.payload : undefined));
          expect(payloads.map((payload) => Array.from(payload ?? [1]))).toEqual([Array.from(ALL_BYTES), []]);
        }
      });
    });

    describeHistory(() => ({ broker, other, order }));
    describeMessages(() => ({ broker, other, order }));

    describe("latest values", () => {
      const location = (version: number, key = "location:p1"): LatestValue => ({
        key,
        version,
        payload: bytes(`at ${version}`),
      });

      it("never go back to an older version", async () => {
        const heard = await listenTo(order, other);
        for (const version of [5, 3, 5, 1_790_000_000_000_000, 7])
          await broker.update(order, location(version));
        expect((await other.state(order)).latest).toEqual([
          { key: "location:p1", version: 1_790_000_000_000_000, payload: expect.anything() as unknown },
        ]);
        await untilQuiet(order, heard);
        expect(versionsOf(heard)).toEqual([5, 1_790_000_000_000_000]);
      });

      it("go up under concurrent updates of two brokers, and end at the greatest", async () => {
        const heard = await listenTo(order, broker);
        const updates = Array.from({ length: 50 }, (_, index) => {
          return (index % 2 === 0 ? broker : other).update(order, location(((index * 37) % 50) + 1));
        });
        await Promise.all(updates);
        await untilQuiet(order, heard);
        const versions = versionsOf(heard);
        expect(versions).toEqual([...versions].sort((left, right) => left - right));
        expect(versions.at(-1)).toBe(50);
        expect((await broker.state(order)).latest.map(({ version }) => version)).toEqual([50]);
      });

      it("stand side by side under different keys, with all byte values", async () => {
        await broker.update(order, { key: "eta:42", version: 1, payload: ALL_BYTES });
        await broker.update(order, location(2));
        const { latest, position } = await other.state(order);
        expect(latest.map(({ key }) => key).sort()).toEqual(["eta:42", "location:p1"]);
        const payload = latest.find(({ key }) => key === "eta:42")?.payload;
        expect(Array.from(payload ?? [])).toEqual(Array.from(ALL_BYTES));
        expect(position).toEqual({ epoch: "", offset: 0, tag: 0 });
      });
    });

    describe("following", () => {
      it("hears what two brokers publish, each from the other", async () => {
        const heardHere = await listenTo(order, broker);
        const heardThere = await listenTo(order, other);
        await broker.publish(order, event("from here"));
        await other.publish(order, event("from there"));
        await vi.waitFor(() => {
          expect(offsetsOf(heardHere)).toEqual([1, 2]);
          expect(offsetsOf(heardThere)).toEqual([1, 2]);
        }, WAIT);
      });

      it("misses nothing between follow and state while others publish", async () => {
        const enough = new AbortController();
        const publishing = (async () => {
          let count = 0;
          while (!enough.signal.aborted && count < 2_000) {
            await other.publish(order, event(`e${count++}`));
            // A broker in memory answers without ever leaving this turn of the event loop.
            await setImmediate();
          }
          return count;
        })();
        await vi.waitFor(
          async () => expect((await broker.state(order)).position.offset).toBeGreaterThan(3),
          WAIT,
        );
        const heard = await listenTo(order, broker);
        const { position } = await broker.state(order);
        await vi.waitFor(() => expect(offsetsOf(heard).length).toBeGreaterThan(10), WAIT);
        enough.abort();
        const total = await publishing;
        await untilQuiet(order, heard);
        const above = offsetsOf(heard).filter((offset) => offset > position.offset);
        expect(above).toEqual(
          Array.from({ length: total - position.offset }, (_, index) => position.offset + 1 + index),
        );
      });

      it("tells a payload to everyone but the broker that sent it, with its origin", async () => {
        const heardHere = await listenTo(order, broker);
        const heardThere = await listenTo(order, other);
        await broker.tell(order, { payload: ALL_BYTES, origin: "connection-é" });
        await untilQuiet(order, heardHere);
        await untilQuiet(order, heardThere);
        expect(heardHere.filter(({ type }) => type === "ephemeral")).toEqual([]);
        const ephemeral = heardThere.flatMap((message) => (message.type === "ephemeral" ? [message] : []));
        expect(ephemeral).toHaveLength(1);
        expect(ephemeral[0]?.origin).toBe("connection-é");
        expect(Array.from(ephemeral[0]?.payload ?? [])).toEqual(Array.from(ALL_BYTES));
      });

      it("tells a signal to everyone, the sender too", async () => {
        const heardHere = await listenTo(order, broker);
        const heardThere = await listenTo(order, other);
        await broker.tell(order, { signal: ALL_BYTES });
        await vi.waitFor(() => {
          for (const heard of [heardHere, heardThere]) {
            expect(signalsOf(heard).map((signal) => Array.from(signal))).toEqual([Array.from(ALL_BYTES)]);
          }
        }, WAIT);
      });

      it("hears nothing of other channels, nor of the same name in another app", async () => {
        const heard = await listenTo(order, broker);
        await other.publish(channelOf(order.app, "order", "43"), event("other order"));
        await other.publish(channelOf(`${order.app}x`, "order", "42"), event("other app"));
        await untilQuiet(order, heard);
        expect(offsetsOf(heard)).toEqual([]);
      });

      it("ends with unfollow, and can begin again", async () => {
        const before = await listenTo(order, broker);
        await broker.publish(order, event("e1"));
        await vi.waitFor(() => expect(offsetsOf(before)).toEqual([1]), WAIT);
        await broker.unfollow(order);
        await broker.publish(order, event("e2"));
        const after = await listenTo(order, broker);
        await broker.publish(order, event("e3"));
        await vi.waitFor(() => expect(offsetsOf(after)).toEqual([3]), WAIT);
        expect(offsetsOf(before)).toEqual([1]);
      });

      it("survives being turned on and off and on within one turn", async () => {
        const heard: BrokerMessage[] = [];
        const first = broker.follow(order, () => undefined);
        const off = broker.unfollow(order);
        const last = broker.follow(order, (message) => heard.push(message));
        await Promise.all([first, off, last]);
        await other.publish(order, event("e1"));
        await vi.waitFor(() => expect(offsetsOf(heard)).toEqual([1]), WAIT);
      });

      it("works for many channels at once", async () => {
        const channels = Array.from({ length: 300 }, (_, index) =>
          channelOf(order.app, "order", `o${index}`),
        );
        let heardCount = 0;
        await Promise.all(channels.map((channel) => broker.follow(channel, () => (heardCount += 1))));
        await Promise.all(channels.map((channel) => other.publish(channel, event("e1"))));
        await vi.waitFor(() => expect(heardCount).toBe(300), WAIT);
      });

      it("goes on after a listener threw", async () => {
        let calls = 0;
        await broker.follow(order, () => {
          calls += 1;
          throw new Error("a fault of the listener");
        });
        await other.publish(order, event("e1"));
        await other.publish(order, event("e2"));
        await vi.waitFor(() => expect(calls).toBe(2), WAIT);
      });

      it("refuses to follow a channel twice", async () => {
        await broker.follow(order, () => undefined);
        await expect(broker.follow(order, () => undefined)).rejects.toThrow("twice");
      });
    });

    it("reads the positions of many channels in their order", async () => {
      const channels = ["1", "2", "3"].map((id) => channelOf(order.app, "order", id));
      await broker.publish(channelOf(order.app, "order", "3"), event("a"));
      await broker.publish(channelOf(order.app, "order", "3"), event("b"));
      const answer = await broker.publish(channelOf(order.app, "order", "1"), event("c"));
      const positions = await other.positions(channels);
      expect(positions.map((position) => position?.offset)).toEqual([1, 0, 2]);
      expect(positions[0]).toEqual(positionOf(answer));
      expect(await other.positions([])).toEqual([]);
    });

    describeForks(() => ({ broker, other, order }));

    it("refuses a kind of channel that does not exist", async () => {
      const unknown = channelOf(order.app, "nothing", "1");
      await expect(broker.publish(unknown, event("e1"))).rejects.toMatchObject({ kind: "not_found" });
    });
  });
}
