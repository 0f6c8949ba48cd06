import { describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { OrderedBatches } from "./ordered-batches.js";

interface Item {
  readonly key: string;
  readonly name: string;
}

/** Batches are numbers; work is held until it is let go by its name. */
class Bench {
  readonly begun: string[] = [];
  readonly ending = new AbortController();
  /** Pairs "later<earlier" of batches of which the later's sender knew how the earlier ended. */
  readonly informed = new Set<string>();
  readonly batches: OrderedBatches<Item, string, number>;
  readonly #held = new Map<string, (error?: GatewayError) => void>();

  constructor(concurrency = 4) {
    this.batches = new OrderedBatches({
      orderKey: ({ key }) => key,
      concurrency,
      signal: this.ending.signal,
      isInformed: (later, earlier) => this.informed.has(`${later}<${earlier}`),
      work: ({ name }) => {
        this.begun.push(name);
        return new Promise((resolve, reject) => {
          this.#held.set(name, (error) => (error === undefined ? resolve(name) : reject(error)));
        });
      },
    });
  }

  /** "a1 b1": two items of the keys a and b. */
  async run(batch: number, names: string): Promise<string[]> {
    const items = names.split(" ").map((name) => ({ key: name.charAt(0), name }));
    const outcomes = await this.batches.run(batch, items);
    return outcomes.map((each) => (each.ok ? each.result : each.error.message.replace(/:.*/, "")));
  }

  async finish(name: string, error?: GatewayError): Promise<void> {
    const finish = this.#held.get(name);
    if (finish === undefined) throw new Error(`${name} has not begun`);
    finish(error);
    await turn();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const away = (): GatewayError => new GatewayError("unavailable", "away", { retryAfterMs: 9 });

describe("ordered batches", () => {
  it("keep the order of a key over batches, and let others pass", async () => {
    const bench = new Bench();
    const first = bench.run(1, "a1 b1");
    const second = bench.run(2, "a2 c2");
    expect(bench.begun).toEqual(["a1", "b1", "c2"]);
    await bench.finish("c2");
    await bench.finish("b1");
    expect(bench.begun).not.toContain("a2");
    await bench.finish("a1");
    expect(await first).toEqual(["a1", "b1"]);
    await bench.finish("a2");
    expect(await second).toEqual(["a2", "c2"]);
  });

  it("answer a later batch that is done before an earlier one", async () => {
    const bench = new Bench();
    const first = bench.run(1, "a1");
    const second = bench.run(2, "b2");
    await bench.finish("b2");
    expect(await second).toEqual(["b2"]);
    await bench.finish("a1");
    expect(await first).toEqual(["a1"]);
  });

  it("have no more in hand at once than they may, over all batches", async () => {
    const bench = new Bench(2);
    const runs = [bench.run(1, "a1"), bench.run(2, "b2"), bench.run(3, "c3")];
    expect(bench.begun).toEqual(["a1", "b2"]);
    await bench.finish("b2");
    expect(bench.begun).toEqual(["a1", "b2", "c3"]);
    await bench.finish("c3");
    await bench.finish("a1");
    await Promise.all(runs);
  });

  it("do not let a key with much to do hold up the others", async () => {
    const bench = new Bench(1);
    const runs = [bench.run(1, "a1 a2 a3"), bench.run(2, "b1")];
    for (const name of ["a1", "b1", "a2", "a3"]) await bench.finish(name);
    await Promise.all(runs);
    expect(bench.begun).toEqual(["a1", "b1", "a2", "a3"]);
  });

  it("do not try what its sender sent behind a failure that it did not know of", async () => {
    const bench = new Bench();
    const first = bench.run(1, "a1");
    const second = bench.run(2, "a2 b2");
    await bench.finish("a1", away());
    await bench.finish("b2");
    expect(await first).toEqual(["away"]);
    expect(await second).toEqual(["not tried", "b2"]);
    // Also what comes when nothing is in hand.
    expect(await bench.run(3, "a3")).toEqual(["not tried"]);
    expect(bench.begun).toEqual(["a1", "b2"]);
  });

  it("tell what was not tried when to try again", async () => {
    const bench = new Bench();
    const first = bench.run(1, "a1");
    await bench.finish("a1", away());
    await first;
    const [outcome] = await bench.batches.run(2, [{ key: "a", name: "a2" }]);
    expect(outcome).toMatchObject({ ok: false, error: { kind: "unavailable", retryAfterMs: 9 } });
  });

  it("take up a key again with what its sender sent knowing of the failure, in the order that it had", async () => {
    const bench = new Bench();
    const first = bench.run(1, "a1");
    const second = bench.run(2, "a2");
    await bench.finish("a1", away());
    expect(await second).toEqual(["not tried"]);
    bench.informed.add("3<1");
    const third = bench.run(3, "a1 a2");
    await bench.finish("a1");
    await bench.finish("a2");
    expect(await third).toEqual(["a1", "a2"]);
    expect(bench.batches.failures).toBe(0);
    await first;
  });

  it("go on behind an item that can never succeed", async () => {
    const bench = new Bench();
    const first = bench.run(1, "a1");
    const second = bench.run(2, "a2");
    await bench.finish("a1", new GatewayError("not_found", "no such kind"));
    await bench.finish("a2");
    expect([await first, await second]).toEqual([["no such kind"], ["a2"]]);
    expect(bench.batches.failures).toBe(0);
  });

  it("remember a failure until it is known or forgotten", async () => {
    const bench = new Bench();
    const runs = [bench.run(1, "a1 b1"), bench.run(2, "c2")];
    for (const name of ["a1", "b1", "c2"]) await bench.finish(name, away());
    await Promise.all(runs);
    expect(bench.batches.failures).toBe(3);
    bench.batches.forget((batch) => batch === 1);
    expect(bench.batches.failures).toBe(1);
    const third = bench.run(3, "a3 c3");
    await bench.finish("a3");
    expect(await third).toEqual(["a3", "not tried"]);
  });

  it("begin nothing once the call has ended", async () => {
    const bench = new Bench();
    const run = bench.run(1, "a1 a2");
    bench.ending.abort();
    await bench.finish("a1");
    expect(await run).toEqual(["a1", "not tried"]);
    expect(await bench.run(2, "b2")).toEqual(["not tried"]);
  });

  it("answer a batch without items, and one whose items were all refused", async () => {
    const { batches } = new Bench();
    expect(await batches.run(1, [])).toEqual([]);
    const refused = new GatewayError("invalid_argument", "no");
    expect(await batches.run(2, [refused])).toEqual([{ ok: false, error: refused }]);
  });
});
