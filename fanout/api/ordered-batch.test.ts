import { describe, expect, it } from "vitest";
import { GatewayError, type ErrorName } from "#proto/errors.js";
import { runOrdered } from "./ordered-batch.js";

interface Item {
  readonly key: string;
  readonly fails?: ErrorName;
}

/** Runs the items with work that takes a turn of the event loop, and notes when each began and ended. */
async function run(
  items: readonly (Item | GatewayError)[],
  options: { concurrency?: number; signal?: AbortSignal } = {},
) {
  const trace: string[] = [];
  let atOnce = 0;
  let mostAtOnce = 0;
  const outcomes = await runOrdered({
    items,
    orderKey: ({ key }) => key,
    concurrency: options.concurrency ?? 4,
    signal: options.signal ?? new AbortController().signal,
    work: async (item) => {
      const name = `${item.key}${items.indexOf(item)}`;
      trace.push(`+${name}`);
      mostAtOnce = Math.max(mostAtOnce, ++atOnce);
      await new Promise((resolve) => setImmediate(resolve));
      atOnce -= 1;
      trace.push(`-${name}`);
      if (item.fails !== undefined) throw new GatewayError(item.fails, "no", { retryAfterMs: 7 });
      return name;
    },
  });
  return {
    trace,
    mostAtOnce,
    kinds: outcomes.map((each) => (each.ok ? each.result : each.error.kind)),
    outcomes,
  };
}

describe("an ordered batch", () => {
  it("works on one key's items one after the other and on keys side by side", async () => {
    const { trace, kinds } = await run([{ key: "a" }, { key: "b" }, { key: "a" }]);
    expect(kinds).toEqual(["a0", "b1", "a2"]);
    expect(trace.indexOf("+b1")).toBeLessThan(trace.indexOf("-a0"));
    expect(trace.indexOf("-a0")).toBeLessThan(trace.indexOf("+a2"));
  });

  it("has no more in hand at once than it may", async () => {
    const items = Array.from({ length: 40 }, (_, index) => ({ key: `k${index}` }));
    const { mostAtOnce, kinds } = await run(items, { concurrency: 3 });
    expect(mostAtOnce).toBe(3);
    expect(kinds).toHaveLength(40);
  });

  it("goes on within a key after an item that can never succeed", async () => {
    const { kinds } = await run([{ key: "a", fails: "invalid_argument" }, { key: "a" }]);
    expect(kinds).toEqual(["invalid_argument", "a1"]);
  });

  it.each<ErrorName>(["unavailable", "internal", "rate_limited", "expired"])(
    "does not try what stands behind %s in the same key",
    async (fails) => {
      const { kinds, trace, outcomes } = await run([{ key: "a", fails }, { key: "a" }, { key: "b" }]);
      expect(kinds).toEqual([fails, "unavailable", "b2"]);
      expect(trace).not.toContain("+a1");
      expect(outcomes[1]).toMatchObject({ error: { retryAfterMs: 7 } });
    },
  );

  it("keeps the places of items that were refused before", async () => {
    const { kinds } = await run([{ key: "a" }, new GatewayError("not_found", "no"), { key: "a" }]);
    expect(kinds).toEqual(["a0", "not_found", "a2"]);
  });

  it("fails as a whole only when every item is unavailable", async () => {
    await expect(run([{ key: "a", fails: "unavailable" }, { key: "a" }])).rejects.toMatchObject({
      kind: "unavailable",
      message: "no",
    });
    const refused = new GatewayError("not_found", "no");
    const { kinds } = await run([{ key: "a", fails: "unavailable" }, refused]);
    expect(kinds).toEqual(["unavailable", "not_found"]);
  });

  it("turns unknown errors into internal ones", async () => {
    const [outcome] = await runOrdered({
      items: [{ key: "a" }],
      orderKey: ({ key }) => key,
      concurrency: 1,
      signal: new AbortController().signal,
      work: () => Promise.reject(new TypeError("x")),
    });
    expect(outcome).toMatchObject({ ok: false, error: { kind: "internal" } });
  });

  it("begins nothing once nobody waits", async () => {
    await expect(run([{ key: "a" }, { key: "b" }], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      kind: "unavailable",
    });
  });
});
