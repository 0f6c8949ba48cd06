import { describe, expect, it } from "vitest";
import { OpeningQueue, type OpeningQueueOptions } from "./opening-queue.js";

/** Sessions are objects with a name; openings end when the test says so. */
class Bench {
  readonly begun: string[] = [];
  readonly queue: OpeningQueue<{ readonly name: string }>;
  readonly #sessions = new Map<string, { readonly name: string }>();
  readonly #ends = new Map<string, () => void>();

  constructor(options: OpeningQueueOptions) {
    this.queue = new OpeningQueue(options);
  }

  enter(name: string, isLive = false): boolean {
    return this.queue.enter(this.session(name), {
      isLive,
      begin: () => {
        this.begun.push(name);
        return new Promise((resolve) => this.#ends.set(name, resolve));
      },
    });
  }

  session(name: string): { readonly name: string } {
    const session = this.#sessions.get(name) ?? { name };
    this.#sessions.set(name, session);
    return session;
  }

  async end(name: string): Promise<void> {
    const end = this.#ends.get(name);
    if (end === undefined) throw new Error(`${name} has not begun`);
    end();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("the queue of sessions to be opened", () => {
  it("begins at once while there is room", () => {
    const bench = new Bench({ concurrency: 2 });
    bench.enter("a");
    bench.enter("b");
    expect(bench.begun).toEqual(["a", "b"]);
    expect([bench.queue.underWay, bench.queue.waiting]).toEqual([2, 0]);
  });

  it("takes the others in the order in which they came, one for each that is done", async () => {
    const bench = new Bench({ concurrency: 2 });
    for (const name of ["a", "b", "c", "d", "e"]) bench.enter(name);
    expect([bench.queue.underWay, bench.queue.waiting]).toEqual([2, 3]);
    await bench.end("b");
    expect(bench.begun).toEqual(["a", "b", "c"]);
    await bench.end("a");
    await bench.end("c");
    expect(bench.begun).toEqual(["a", "b", "c", "d", "e"]);
    await bench.end("d");
    await bench.end("e");
    expect([bench.queue.underWay, bench.queue.waiting]).toEqual([0, 0]);
  });

  it("takes those from another home before new ones, in their own order", async () => {
    const bench = new Bench({ concurrency: 1 });
    for (const name of ["new-1", "new-2"]) bench.enter(name);
    for (const name of ["live-1", "live-2"]) bench.enter(name, true);
    for (const name of ["new-1", "live-1", "live-2", "new-2"]) await bench.end(name);
    expect(bench.begun).toEqual(["new-1", "live-1", "live-2", "new-2"]);
  });

  it("never begins a session that left while it waited", async () => {
    const bench = new Bench({ concurrency: 1 });
    bench.enter("a");
    bench.enter("b");
    bench.enter("c", true);
    bench.enter("d");
    expect(bench.queue.isWaiting(bench.session("b"))).toBe(true);
    bench.queue.leave(bench.session("b"));
    bench.queue.leave(bench.session("c"));
    expect(bench.queue.isWaiting(bench.session("b"))).toBe(false);
    expect(bench.queue.waiting).toBe(1);
    await bench.end("a");
    expect(bench.begun).toEqual(["a", "d"]);
  });

  it("lets what is under way go on when its session leaves", async () => {
    const bench = new Bench({ concurrency: 1 });
    bench.enter("a");
    bench.enter("b");
    bench.queue.leave(bench.session("a"));
    expect([bench.queue.underWay, bench.begun]).toEqual([1, ["a"]]);
    await bench.end("a");
    expect(bench.begun).toEqual(["a", "b"]);
  });

  it("takes no new session when too many wait, but each one from another home", async () => {
    const bench = new Bench({ concurrency: 1, maxWaiting: 2 });
    expect(["a", "b", "c"].map((name) => bench.enter(name))).toEqual([true, true, true]);
    expect(bench.enter("d")).toBe(false);
    expect(bench.enter("live-1", true)).toBe(true);
    expect(bench.enter("live-2", true)).toBe(true);
    await bench.end("a");
    await bench.end("live-1");
    await bench.end("live-2");
    expect(bench.begun).toEqual(["a", "live-1", "live-2", "b"]);
    expect(bench.enter("e")).toBe(true);
  });

  it("has a storm of 20,000 with no more under way than it may, and every one of them once", async () => {
    let underWay = 0;
    let most = 0;
    const order: number[] = [];
    const queue = new OpeningQueue<{ readonly number: number }>();
    for (let number = 0; number < 20_000; number += 1) {
      const begin = async (): Promise<void> => {
        order.push(number);
        underWay += 1;
        most = Math.max(most, underWay);
        await turn();
        underWay -= 1;
      };
      queue.enter({ number }, { isLive: false, begin });
    }
    await untilEmpty(queue);
    expect(most).toBe(256);
    expect(order).toEqual(Array.from({ length: 20_000 }, (_, number) => number));
  });

  it("leaves turns to others also while openings fail as soon as they begin", async () => {
    let begun = 0;
    let mostInTurn = 0;
    const queue = new OpeningQueue({ concurrency: 10 });
    for (let number = 0; number < 1_000; number += 1) {
      queue.enter({ number }, { isLive: false, begin: async () => void (begun += 1) });
    }
    for (let before = 0; before < 1_000; before = begun) {
      await turn();
      mostInTurn = Math.max(mostInTurn, begun - before);
    }
    expect(mostInTurn).toBeLessThanOrEqual(20);
  });
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function untilEmpty(queue: OpeningQueue<object>): Promise<void> {
  while (queue.underWay > 0 || queue.waiting > 0) await turn();
}
