import { describe, expect, it } from "vitest";
import { BatchWriter } from "./batch-writer.js";
import type { LinkStream } from "./link-stream.js";

class RecordingStream implements LinkStream {
  readonly sent: string[] = [];
  isFull = false;
  send(batch: Uint8Array): boolean {
    this.sent.push(Buffer.from(batch).toString());
    return !this.isFull;
  }
  listen(): void {}
  end(): void {}
  destroy(): void {}
}

const item = (text: string): Uint8Array => Buffer.from(text);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function setUp(limits = { batchBytes: 10, pressureBytes: 20, cutBytes: 100 }) {
  const stream = new RecordingStream();
  let overflows = 0;
  const writer = new BatchWriter({ stream, limits, onOverflow: () => (overflows += 1) });
  return { stream, writer, overflows: () => overflows };
}

describe("BatchWriter", () => {
  it("sends what was queued in one turn as one batch, in order", async () => {
    const { stream, writer } = setUp();
    writer.grant(1000);
    writer.keep(item("a"));
    writer.keep(item("b"));
    expect(stream.sent).toEqual([]);
    await turn();
    expect(stream.sent).toEqual(["ab"]);
  });

  it("splits what is larger than a batch", async () => {
    const { stream, writer } = setUp();
    writer.grant(1000);
    writer.keep(item("aaaaaa"));
    writer.keep(item("bbbbbb"));
    await turn();
    expect(stream.sent).toEqual(["aaaaaa", "bbbbbb"]);
  });

  it("sends nothing without credit, and goes on when credit comes", async () => {
    const { stream, writer } = setUp();
    writer.keep(item("a"));
    await turn();
    expect(stream.sent).toEqual([]);
    writer.grant(1);
    await turn();
    expect(stream.sent).toEqual(["a"]);
  });

  it("waits for a full transport to drain", async () => {
    const { stream, writer } = setUp();
    writer.grant(1000);
    stream.isFull = true;
    writer.keep(item("a"));
    await turn();
    writer.keep(item("b"));
    await turn();
    expect(stream.sent).toEqual(["a"]);
    writer.drained();
    await turn();
    expect(stream.sent).toEqual(["a", "b"]);
  });

  it("under pressure keeps only the newest of a key, drops ephemeral items and keeps the others", async () => {
    const { stream, writer } = setUp();
    writer.keep(item("x".repeat(20)));
    writer.latest("k", item("old"));
    writer.ephemeral(item("typing"));
    writer.keep(item("status"));
    writer.latest("k", item("new"));
    writer.grant(1000);
    await turn();
    expect(stream.sent.join("")).toBe(`${"x".repeat(20)}newstatus`);
    expect([writer.conflated, writer.dropped]).toEqual([1, 1]);
  });

  it("still conflates rightly after a part of the queue was sent", async () => {
    const { stream, writer } = setUp({ batchBytes: 10, pressureBytes: 1, cutBytes: 1000 });
    writer.keep(item("0123456789"));
    writer.latest("k", item("one"));
    writer.grant(1);
    await turn();
    expect(stream.sent).toEqual(["0123456789"]);
    writer.latest("k", item("two"));
    writer.keep(item("end"));
    writer.grant(1000);
    await turn();
    expect(stream.sent.join("")).toBe("0123456789twoend");
  });

  it("gives the link up at its bound and holds nothing after", () => {
    const { writer, overflows } = setUp();
    for (let index = 0; index < 30; index += 1) writer.keep(item("12345"));
    expect(overflows()).toBe(1);
    expect(writer.queuedBytes).toBe(0);
  });

  it("never lets a newer value take the place of one that stands before an older one", async () => {
    const { stream, writer } = setUp({ batchBytes: 4, pressureBytes: 8, cutBytes: 1000 });
    writer.keep(item("aaaa"));
    writer.keep(item("bbbb"));
    writer.latest("k", item("k-1;"));
    // So much is sent that the pressure is gone, but the value still waits.
    writer.grant(5);
    await turn();
    writer.latest("k", item("k-2;"));
    writer.keep(item("cccc"));
    writer.latest("k", item("k-3;"));
    writer.grant(1000);
    await turn();
    const sent = stream.sent.join("");
    expect(sent.indexOf("k-3;")).toBeGreaterThan(sent.indexOf("k-2;"));
    expect(sent.endsWith("k-3;")).toBe(true);
  });

  it("whatever comes: keeps the order, loses nothing that must arrive, and counts every byte", async () => {
    for (let seed = 1; seed <= 60; seed += 1) await checkRandomly(seed);
  });
});

/** Random items, credits, full transports and turns, against what the writer promises. */
async function checkRandomly(seed: number): Promise<void> {
  const random = generator(seed);
  const limits = { batchBytes: 40, pressureBytes: 120, cutBytes: 1_000_000 };
  const { stream, writer } = setUp(limits);
  const kept: number[] = [];
  const newest = new Map<string, number>();
  let granted = 0;
  for (let number = 1; number <= 400; number += 1) {
    const key = `k${Math.floor(random() * 3)}`;
    const kind = random();
    if (kind < 0.35) {
      kept.push(number);
      writer.keep(item(`keep:${number};`));
    } else if (kind < 0.7) {
      newest.set(key, number);
      writer.latest(key, item(`${key}:${number};`));
    } else if (kind < 0.8) writer.ephemeral(item(`lost:${number};`));
    else if (kind < 0.9) {
      const bytes = Math.floor(random() * 150);
      granted += bytes;
      writer.grant(bytes);
    } else if (kind < 0.95) stream.isFull = !stream.isFull;
    else if (!stream.isFull) writer.drained();
    if (random() < 0.3) await turn();
    // What is over the credit is at most the batch under way.
    expect(writer.bytes, `seed ${seed}`).toBeLessThan(granted + limits.batchBytes + 20);
  }
  stream.isFull = false;
  writer.grant(1_000_000);
  writer.drained();
  await turn();
  expect(writer.queuedBytes, `seed ${seed}`).toBe(0);
  const sent = stream.sent.join("");
  expect(writer.bytes, `seed ${seed}`).toBe(Buffer.byteLength(sent));
  const byKind = new Map<string, number[]>();
  for (const [, kind = "", number] of sent.matchAll(/(\w+):(\d+);/g)) {
    byKind.set(kind, [...(byKind.get(kind) ?? []), Number(number)]);
  }
  expect(byKind.get("keep") ?? [], `seed ${seed}`).toEqual(kept);
  for (const [key, number] of newest) {
    const values = byKind.get(key) ?? [];
    expect(values.at(-1), `seed ${seed}`).toBe(number);
    expect(values, `seed ${seed}`).toEqual([...values].sort((left, right) => left - right));
  }
}

/** Mulberry32: the same numbers for the same seed. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}
