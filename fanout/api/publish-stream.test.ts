import { describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import {
  PublishItem,
  type PublishStreamRequest,
  type PublishStreamResponse,
} from "#proto/gen/realtime/api/v1/api.js";
import type { PublishRequest, PublishResult } from "#fanout/channel/publisher.js";
import { ApiCounters } from "./api-counters.js";
import { PublishStream } from "./publish-stream.js";

/** A stream whose publishes are held until the test lets them go, by the order that they are of. */
class Bench {
  readonly answers: PublishStreamResponse[] = [];
  readonly begun: string[] = [];
  readonly counters = new ApiCounters();
  readonly ending = new AbortController();
  readonly stream: PublishStream;
  readonly #held = new Map<string, (error?: GatewayError) => void>();

  constructor() {
    this.stream = new PublishStream({
      publisher: { publish: (request) => this.#publish(request) },
      clock: { nowUs: () => 1_750_000_000_000_000 },
      counters: this.counters,
      call: { correlationId: "", traceparent: "", signal: this.ending.signal, report: () => undefined },
      concurrency: 4_096,
    });
  }

  take(request: Partial<PublishStreamRequest> & { readonly number: number }, sizeBytes = 100): void {
    this.stream.take({ items: [], ...request }, sizeBytes, (answer) => this.answers.push(answer));
  }

  async finish(orderId: string, error?: GatewayError): Promise<void> {
    const finish = this.#held.get(orderId);
    if (finish === undefined) throw new Error(`nothing was published to ${orderId}`);
    finish(error);
    await turn();
  }

  get numbers(): number[] {
    return this.answers.map(({ number }) => number);
  }

  #publish({ channel, event }: PublishRequest): Promise<PublishResult> {
    this.begun.push(channel.id);
    return new Promise((resolve, reject) => {
      this.#held.set(channel.id, (error) => {
        if (error === undefined) resolve({ outcome: "published", eventId: event.id, timeMs: 1 });
        else reject(error);
      });
    });
  }
}

function item(orderId: string): PublishItem {
  const status = { orderId, status: "picked_up" };
  return PublishItem.fromPartial({
    target: { $case: "channel", value: `order:${orderId}` },
    event: { id: `e-${orderId}`, body: { $case: "orderStatus", value: status } },
  });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const away = (): GatewayError => new GatewayError("unavailable", "away");
const orders = (count: number, prefix = "o"): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

describe("a stream of publishes", () => {
  it("answers each request with its number and results, when it is done", async () => {
    const bench = new Bench();
    bench.take({ number: 7, items: [item("1"), item("2")] });
    bench.take({ number: 3, items: [item("3")] });
    await bench.finish("3");
    expect(bench.numbers).toEqual([3]);
    await bench.finish("1");
    await bench.finish("2");
    expect(bench.numbers).toEqual([3, 7]);
    expect(bench.answers[1]?.results.map(({ eventId }) => eventId)).toEqual(["e-1", "e-2"]);
    expect(bench.counters.publishItems.published).toBe(3);
  });

  it("says of an item what is wrong with it, and goes on", async () => {
    const bench = new Bench();
    bench.take({ number: 1, items: [{ ...item("1"), target: undefined }, item("2")] });
    await bench.finish("2");
    expect(bench.answers[0]?.results[0]?.error).toMatchObject({ field: "items[0].channel" });
    expect(bench.answers[0]?.results[1]?.error).toBeUndefined();
  });

  it.each([
    ["no items", {}, "request 4: a call has 1 to 1000 of them, not 0", "items"],
    [
      "1,001 items",
      { items: Array.from({ length: 1_001 }, () => item("1")) },
      "request 4: a call has 1 to 1000 of them, not 1001",
      "items",
    ],
    [
      "responses read that were not sent",
      { items: [item("1")], responsesRead: 1 },
      "request 4: so far 0 were sent",
      "responses_read",
    ],
  ])("refuses a request with %s, saying which and why", (_, request, message, field) => {
    const bench = new Bench();
    expect(() => bench.take({ number: 4, ...request })).toThrow(
      expect.objectContaining({ kind: "invalid_argument", message, field }),
    );
    expect(bench.begun).toEqual([]);
    expect(bench.stream.itemsInHand).toBe(0);
  });

  it("is full with 1,024 items in hand, and no more when one is answered", async () => {
    const bench = new Bench();
    bench.take({ number: 1, items: orders(1_000).map(item) });
    bench.take({ number: 2, items: orders(23, "p").map(item) });
    expect(bench.stream.isFull).toBe(false);
    bench.take({ number: 3, items: [item("last")] });
    expect([bench.stream.isFull, bench.stream.itemsInHand]).toEqual([true, 1_024]);
    await bench.finish("last");
    expect([bench.stream.isFull, bench.stream.itemsInHand]).toEqual([false, 1_023]);
  });

  it("is full with 1 MiB in hand", async () => {
    const bench = new Bench();
    bench.take({ number: 1, items: [item("1")] }, 1024 * 1024 - 1);
    expect(bench.stream.isFull).toBe(false);
    bench.take({ number: 2, items: [item("2")] }, 1);
    expect(bench.stream.isFull).toBe(true);
    await bench.finish("2");
    expect(bench.stream.isFull).toBe(false);
  });

  it("does not try what was sent before the caller had read of a failure, and tries what was sent after", async () => {
    const bench = new Bench();
    bench.take({ number: 1, items: [item("1")], responsesRead: 0 });
    bench.take({ number: 2, items: [item("1")], responsesRead: 0 });
    await bench.finish("1", away());
    // Sent when the answers to 1 and 2 were on their way.
    bench.take({ number: 3, items: [item("1")], responsesRead: 0 });
    bench.take({ number: 4, items: [item("1")], responsesRead: 1 });
    await turn();
    await bench.finish("1");
    expect(bench.numbers).toEqual([1, 2, 3, 4]);
    expect(bench.answers.map(({ results }) => results[0]?.error !== undefined)).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(bench.begun).toEqual(["1", "1"]);
  });

  it("takes a caller that does not say so to have read what was sent before its request was read", async () => {
    const bench = new Bench();
    bench.take({ number: 1, items: [item("1")] });
    bench.take({ number: 2, items: [item("1")] });
    await bench.finish("1", away());
    bench.take({ number: 3, items: [item("1")] });
    await bench.finish("1");
    expect(bench.answers.map(({ results }) => results[0]?.error !== undefined)).toEqual([true, true, false]);
  });

  it("remembers failures of 4,096 channels: who does not read of them is sent away, who does goes on", async () => {
    const failing = async (bench: Bench, responsesRead: (round: number) => number) => {
      for (let round = 0; round < 5; round += 1) {
        const ids = orders(1_000, `r${round}-`);
        bench.take({ number: round, items: ids.map(item), responsesRead: responsesRead(round) });
        for (const id of ids) await bench.finish(id, away());
      }
    };
    const reading = new Bench();
    await failing(reading, (round) => round);
    reading.take({ number: 6, items: [item("1")], responsesRead: 5 });
    expect(reading.stream.itemsInHand).toBe(1);

    const deaf = new Bench();
    await failing(deaf, () => 0);
    expect(() => deaf.take({ number: 6, items: [item("1")], responsesRead: 0 })).toThrow(
      expect.objectContaining({ kind: "unavailable" }),
    );
  });
});
