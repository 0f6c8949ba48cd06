import { describe, expect, it, vi } from "vitest";
import { describeEventBus } from "./event-bus.contract.js";
import { inOrder } from "./event-source.js";
import { MemoryEventBus } from "./event-bus-memory.js";
import type { SinkRecord } from "./event-sink.js";

const RETRY = { initialMs: 1, maxMs: 5 };

function record(value: string, topic = "order-events"): SinkRecord {
  return { topic, key: "k", value: Buffer.from(value), headers: {} };
}

describeEventBus("the memory event bus", async () => {
  const bus = new MemoryEventBus({ topics: ["events"], partitions: 4, retryBackoff: RETRY });
  return Promise.resolve({
    topic: "events",
    sink: bus,
    source: () => bus.source(),
    hear: async (topic, listener) => {
      bus.subscribe((sent) => {
        if (sent.topic === topic) listener(sent);
      });
      return Promise.resolve();
    },
    close: () => bus.close(),
  });
});

describe("the memory event bus in one process", () => {
  it("lets a listener hear what is sent to any topic, until it stops listening", async () => {
    const bus = new MemoryEventBus({ topics: [] });
    const heard: string[] = [];
    const stop = bus.subscribe((sent) => heard.push(sent.topic));
    await bus.send([record("1", "chat-events")]);
    stop();
    await bus.send([record("2", "chat-events")]);
    expect(heard).toEqual(["chat-events"]);
  });

  it("refuses with unavailable what would be too much for a partition, all or nothing", async () => {
    const bus = new MemoryEventBus({ topics: ["order-events"], maxQueuedRecords: 2 });
    await bus.send([record("1"), record("2")]);
    await expect(bus.send([record("3")])).rejects.toMatchObject({ kind: "unavailable" });
    const done: string[] = [];
    const source = bus.source();
    await source.start(inOrder(async (read) => void done.push(Buffer.from(read.value).toString())));
    await vi.waitFor(() => expect(done).toEqual(["1", "2"]));
    await bus.send([record("4")]);
    await vi.waitFor(() => expect(done).toEqual(["1", "2", "4"]));
    await source.stop();
  });

  it("numbers records above those of an earlier process, whose marks a store may still hold", async () => {
    const offsets: number[] = [];
    for (const startMs of [1_000, 2_000]) {
      const bus = new MemoryEventBus({ topics: ["order-events"], partitions: 1, now: () => startMs });
      const source = bus.source();
      await source.start(inOrder(async (read) => void offsets.push(read.offset)));
      await bus.send([record("1"), record("2")]);
      await vi.waitFor(() => expect(offsets.length % 2).toBe(0));
      await source.stop();
    }
    await vi.waitFor(() => expect(offsets).toEqual([1_000_000, 1_000_001, 2_000_000, 2_000_001]));
  });

  it("refuses a second source while one is started, and everything once it is closed", async () => {
    const bus = new MemoryEventBus({ topics: ["order-events"] });
    const source = bus.source();
    await source.start(inOrder(async () => Promise.resolve()));
    await expect(bus.source().start(inOrder(async () => Promise.resolve()))).rejects.toThrow(
      "started already",
    );
    await source.stop();
    await bus.close();
    await expect(bus.send([record("1")])).rejects.toMatchObject({ kind: "unavailable" });
  });
});
