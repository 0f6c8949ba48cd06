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
});
