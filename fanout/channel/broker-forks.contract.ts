/** What every broker promises of forks, as tests; a part of its contract. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import { eventTag } from "#proto/event-tag.js";
import {
  isRotated,
  type Broker,
  type BrokerMessage,
  type DurableEvent,
  type PublishAnswer,
  type StreamPosition,
} from "./broker.js";
import type { Channel } from "./channel.js";

export interface ForkHarness {
  readonly broker: Broker;
  /** On the same store. */
  readonly other: Broker;
  readonly order: Channel;
}

const WAIT = { timeout: 5_000, interval: 5 };

function event(text: string, more: Partial<DurableEvent> = {}): DurableEvent {
  return { eventId: text, payload: Buffer.from(text), idempotencyKey: text, ...more };
}

function positionOf(answer: PublishAnswer): StreamPosition {
  if (answer.outcome === "stale") throw new Error("a position was expected, the answer was stale");
  return answer.position;
}

async function listenTo(broker: Broker, channel: Channel): Promise<BrokerMessage[]> {
  const heard: BrokerMessage[] = [];
  await broker.follow(channel, (message) => heard.push(message));
  return heard;
}

/** `current` gives the harness of the running test. */
export function describeForks(current: () => ForkHarness): void {
  let broker: Broker;
  let other: Broker;
  let order: Channel;

  beforeEach(() => {
    ({ broker, other, order } = current());
  });

  describe("a forked channel", () => {
    const more = {
      version: { subject: "status", number: 5 },
      sourceMark: { source: "o/1", offset: 9, index: 0 },
    };

    it("begins a new epoch with an empty history, once, whoever asks for it", async () => {
      await broker.publish(order, event("e1"));
      const forked = positionOf(await broker.publish(order, event("e2")));
      const rotated = await Promise.all([broker.rotate(order, forked), other.rotate(order, forked)]);
      expect(rotated[0]).toEqual(rotated[1]);
      expect(rotated[0]).toMatchObject({ offset: 0, tag: 0 });
      expect(rotated[0].epoch).not.toBe(forked.epoch);
      expect([isRotated(rotated[0].epoch), isRotated(forked.epoch)]).toEqual([true, false]);
      expect(await other.rotate(order, forked)).toEqual(rotated[0]);
      expect((await other.state(order)).position).toEqual(rotated[0]);
      expect(await other.positions([order])).toEqual([rotated[0]]);
      expect(await other.history(order, { afterOffset: 0, limit: 10 })).toEqual([]);
    });

    it("goes on at offset 1, and says that nothing came before it", async () => {
      const forked = positionOf(await broker.publish(order, event("e1")));
      const heard = await listenTo(other, order);
      const { epoch } = await broker.rotate(order, forked);
      const next = positionOf(await broker.publish(order, event("e2")));
      expect(next).toEqual({ epoch, offset: 1, tag: eventTag("e2") });
      await vi.waitFor(() => expect(heard).toHaveLength(1), WAIT);
      expect(heard[0]).toMatchObject({ position: next, previousTag: 0 });
      expect(await other.history(order, { afterOffset: 0, limit: 10 })).toMatchObject([{ position: next }]);
    });

    it("keeps its versions, marks and answers", async () => {
      const first = await broker.publish(order, event("e1", more));
      const { epoch } = await broker.rotate(order, positionOf(first));
      expect(await broker.publish(order, event("e1"))).toEqual({ ...first, outcome: "repeated" });
      expect(await broker.publish(order, event("old", { version: more.version }))).toEqual({
        outcome: "stale",
      });
      const marked = await broker.publish(order, event("frozen", { sourceMark: more.sourceMark }));
      expect(marked).toMatchObject({ outcome: "repeated" });
      expect((await broker.state(order)).position).toMatchObject({ epoch, offset: 0 });
    });

    it("is left alone where another event is stored by now, or none", async () => {
      const before = { epoch: "", offset: 0, tag: 0 };
      expect(await broker.rotate(order, { epoch: "e", offset: 3, tag: 7 })).toEqual(before);
      const first = positionOf(await broker.publish(order, event("e1")));
      const second = positionOf(await broker.publish(order, event("e2")));
      for (const old of [first, { ...second, tag: second.tag + 1 }, { ...second, epoch: "another" }]) {
        expect(await broker.rotate(order, old)).toEqual(second);
      }
      expect(await broker.history(order, { afterOffset: 0, limit: 10 })).toHaveLength(2);
    });
  });

  it("says of each event which was before it", async () => {
    const heard = await listenTo(other, order);
    for (const name of ["e1", "e2", "e3"]) await broker.publish(order, event(name));
    await vi.waitFor(() => expect(heard).toHaveLength(3), WAIT);
    expect(heard).toMatchObject([
      { previousTag: 0 },
      { previousTag: eventTag("e1") },
      { previousTag: eventTag("e2") },
    ]);
  });
}
