/**
 * What every event bus promises, as tests. A harness gives sources of one group and a sink on one bus;
 * nothing here knows which implementation it runs on.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DEAD_LETTER_HEADERS, deadLetterTopic } from "./dead-letter.js";
import type { EventSink, SinkRecord } from "./event-sink.js";
import { inOrder, UnreadableRecord, type EventSource, type SourceRecord } from "./event-source.js";

export interface EventBusHarness {
  /** Read by the sources; of several partitions, and of this harness alone. */
  readonly topic: string;
  readonly sink: EventSink;
  /** Another source of the same group; they are started one after the other. */
  source(): EventSource;
  /** Hears everything that is sent to a topic, from its beginning. */
  hear(topic: string, listener: (record: SinkRecord) => void): Promise<void>;
  /** Closes everything that it made. */
  close(): Promise<void>;
}

const WAIT = { timeout: 15_000, interval: 10 };
const KEYS = Array.from({ length: 30 }, (_, index) => `key-${index}`);

function text(value: Uint8Array): string {
  return Buffer.from(value).toString("utf8");
}

export function describeEventBus(name: string, makeHarness: () => Promise<EventBusHarness>): void {
  describe(name, { timeout: 60_000 }, () => {
    let harness: EventBusHarness;
    let source: EventSource;

    beforeEach(async () => {
      harness = await makeHarness();
      source = harness.source();
    }, 30_000);
    afterEach(async () => {
      await source.stop();
      await harness.close();
    }, 30_000);

    function record(key: string, value: string): SinkRecord {
      return { topic: harness.topic, key, value: Buffer.from(value), headers: {} };
    }

    async function send(...records: SinkRecord[]): Promise<void> {
      await harness.sink.send(records);
    }

    it("hands a record over as it was sent, with its header names in lower case", async () => {
      const heard: SourceRecord[] = [];
      await source.start(inOrder(async (read) => void heard.push(read)));
      const value = Uint8Array.from({ length: 256 }, (_, index) => index);
      await send({ topic: harness.topic, key: "k1", value, headers: { "Content-Type": "a/b", x: "ü" } });
      await vi.waitFor(() => expect(heard).toHaveLength(1), WAIT);
      expect(heard[0]).toMatchObject({
        topic: harness.topic,
        key: "k1",
        headers: { "content-type": "a/b", x: "ü" },
      });
      expect(heard[0]?.partition).toBeGreaterThanOrEqual(0);
      expect(Buffer.from(heard[0]?.value ?? []).equals(Buffer.from(value))).toBe(true);
    });

    it("says that it is connected while it is started", async () => {
      await source.start(inOrder(async () => Promise.resolve()));
      expect(source.status()).toEqual({ isConnected: true, reconnectAttempts: 0 });
      await source.stop();
      expect(source.status().isConnected).toBe(false);
    });

    it("tries a record that fails again until it passes, once each and in order", async () => {
      const done: string[] = [];
      let failuresLeft = 3;
      await source.start(
        inOrder(async (read) => {
          if (text(read.value) === "2" && failuresLeft > 0) {
            failuresLeft -= 1;
            throw new Error("the store is away");
          }
          done.push(text(read.value));
          await Promise.resolve();
        }),
      );
      await send(...["1", "2", "3", "4"].map((value) => record("order-1", value)));
      await vi.waitFor(() => expect(done).toEqual(["1", "2", "3", "4"]), WAIT);
      expect(failuresLeft).toBe(0);
    });

    it("keeps the order of a key over several sends", async () => {
      const done: number[] = [];
      await source.start(inOrder(async (read) => void done.push(Number(text(read.value)))));
      const numbers = Array.from({ length: 300 }, (_, index) => index);
      for (const start of [0, 100, 200]) {
        await Promise.all(
          numbers.slice(start, start + 100).map((number) => send(record("one", `${number}`))),
        );
      }
      await vi.waitFor(() => expect(done.length).toBeGreaterThanOrEqual(300), WAIT);
      expect(done).toEqual(numbers);
    });

    it("sends an unreadable record to the dead letter topic with the reason; those behind it arrive", async () => {
      const done: string[] = [];
      const letters: SinkRecord[] = [];
      await harness.hear(deadLetterTopic(harness.topic), (letter) => letters.push(letter));
      let bad: SourceRecord | undefined;
      await source.start(
        inOrder(async (read) => {
          if (text(read.value) === "bad") {
            bad = read;
            throw new UnreadableRecord("it is not JSON");
          }
          done.push(text(read.value));
          await Promise.resolve();
        }),
      );
      const broken: SinkRecord = { ...record("k", "bad"), headers: { trace: "t1" } };
      await send(record("k", "before"), broken, record("k", "after"));
      await vi.waitFor(() => expect(letters).toHaveLength(1), WAIT);
      await vi.waitFor(() => expect(done).toEqual(["before", "after"]), WAIT);
      expect(letters[0]).toMatchObject({
        key: "k",
        headers: {
          trace: "t1",
          [DEAD_LETTER_HEADERS.reason]: "it is not JSON",
          [DEAD_LETTER_HEADERS.topic]: harness.topic,
          [DEAD_LETTER_HEADERS.partition]: String(bad?.partition),
          [DEAD_LETTER_HEADERS.offset]: String(bad?.offset),
        },
      });
      expect(text(letters[0]?.value ?? new Uint8Array())).toBe("bad");
    });

    it("does not let a partition whose handler hangs hold up another", async () => {
      const partitions = new Map<string, number>();
      const release: (() => void)[] = [];
      const done: string[] = [];
      let blockedKey: string | undefined;
      await source.start(
        inOrder(async (read) => {
          const value = text(read.value);
          if (read.key !== undefined) partitions.set(read.key, read.partition);
          if (read.key === blockedKey) await new Promise<void>((resolve) => release.push(resolve));
          done.push(value);
        }),
      );
      await send(...KEYS.map((key) => record(key, `first ${key}`)));
      await vi.waitFor(() => expect(partitions.size).toBe(KEYS.length), WAIT);
      expect(new Set(partitions.values()).size).toBeGreaterThan(1);

      blockedKey = KEYS[0];
      const blockedPartition = partitions.get(KEYS[0] ?? "");
      await send(record(KEYS[0] ?? "", "blocks"));
      await vi.waitFor(() => expect(release).toHaveLength(1), WAIT);
      for (const round of ["second", "third"]) {
        await send(...KEYS.map((key) => record(key, `${round} ${key}`)));
        const others = KEYS.filter((key) => partitions.get(key) !== blockedPartition);
        await vi.waitFor(
          () => expect(done).toEqual(expect.arrayContaining(others.map((key) => `${round} ${key}`))),
          WAIT,
        );
      }
      expect(done).not.toContain("blocks");
      expect(done).not.toContain(`second ${KEYS[0] ?? ""}`);
      blockedKey = undefined;
      for (const resolve of release) resolve();
      await vi.waitFor(() => expect(done).toContain(`third ${KEYS[0] ?? ""}`), WAIT);
    });

    it("goes on after the last record that was done when a source is started again", async () => {
      const first: string[] = [];
      await source.start(inOrder(async (read) => void first.push(text(read.value))));
      await send(...["1", "2", "3"].map((value) => record("k", value)));
      await vi.waitFor(() => expect(first).toEqual(["1", "2", "3"]), WAIT);
      await source.stop();

      await send(...["4", "5"].map((value) => record("k", value)));
      const second: string[] = [];
      source = harness.source();
      await source.start(inOrder(async (read) => void second.push(text(read.value))));
      await vi.waitFor(() => expect(second).toHaveLength(2), WAIT);
      expect(second).toEqual(["4", "5"]);
      expect(first).toHaveLength(3);
    });

    it("finishes the record in hand when it is stopped, and leaves one that fails to the next", async () => {
      const done: string[] = [];
      let finish: (() => void) | undefined;
      await source.start(
        inOrder(async (read) => {
          await new Promise<void>((resolve) => (finish = resolve));
          done.push(text(read.value));
        }),
      );
      await send(record("k", "1"), record("k", "2"));
      await vi.waitFor(() => expect(finish).toBeDefined(), WAIT);
      const stopped = source.stop();
      finish?.();
      await stopped;
      expect(done).toEqual(["1"]);

      let failures = 0;
      source = harness.source();
      await source.start(
        inOrder(async () => {
          failures += 1;
          await Promise.reject(new Error("still away"));
        }),
      );
      await vi.waitFor(() => expect(failures).toBeGreaterThan(0), WAIT);
      await source.stop();

      source = harness.source();
      await source.start(inOrder(async (read) => void done.push(text(read.value))));
      await vi.waitFor(() => expect(done).toEqual(["1", "2"]), WAIT);
    });
  });
}
