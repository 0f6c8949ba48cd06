/**
 * Works on the items of a batch: those of one order key one after the other, different keys side by side,
 * at most `concurrency` at once. Items fail on their own, with one exception that keeps the promise of
 * order: after a failure that may pass, the later items of the same key are not tried, so that a caller
 * who sends the failed ones again gets them in the order that they had.
 */
import { GatewayError, toGatewayError, type ErrorName } from "#proto/errors.js";

export type ItemOutcome<Result> =
  { readonly ok: true; readonly result: Result } | { readonly ok: false; readonly error: GatewayError };

export interface OrderedBatchOptions<Item, Result> {
  /** Items that were refused before are passed as their error and keep their place. */
  readonly items: readonly (Item | GatewayError)[];
  readonly orderKey: (item: Item) => string;
  readonly work: (item: Item) => Promise<Result>;
  readonly concurrency: number;
  /** Once aborted, no further item is begun. */
  readonly signal: AbortSignal;
}

interface Place<Item> {
  readonly index: number;
  readonly item: Item;
}

const MAY_PASS: ReadonlySet<ErrorName> = new Set<ErrorName>([
  "unavailable",
  "internal",
  "rate_limited",
  "expired",
]);

/**
 * One outcome for each item, in their order.
 * @throws GatewayError unavailable where every single item failed with that: then the call as a whole could not be done.
 */
export async function runOrdered<Item extends object, Result>(
  options: OrderedBatchOptions<Item, Result>,
): Promise<ItemOutcome<Result>[]> {
  const outcomes: ItemOutcome<Result>[] = [];
  const lanes = new Map<string, Place<Item>[]>();
  options.items.forEach((item, index) => {
    if (item instanceof GatewayError) {
      outcomes[index] = { ok: false, error: item };
      return;
    }
    const key = options.orderKey(item);
    const lane = lanes.get(key);
    if (lane === undefined) lanes.set(key, [{ index, item }]);
    else lane.push({ index, item });
  });

  const waiting = lanes.values();
  const runner = async () => {
    // The runners share one iterator: each takes the next lane that nobody has.
    for (const lane of waiting) await runLane(lane, options, outcomes);
  };
  await Promise.all(Array.from({ length: Math.min(options.concurrency, lanes.size) }, runner));

  const [first] = outcomes;
  if (first?.ok === false && outcomes.every((each) => !each.ok && each.error.kind === "unavailable")) {
    throw first.error;
  }
  return outcomes;
}

async function runLane<Item, Result>(
  lane: readonly Place<Item>[],
  options: OrderedBatchOptions<Item, Result>,
  outcomes: ItemOutcome<Result>[],
): Promise<void> {
  let blocked: GatewayError | undefined;
  for (const { index, item } of lane) {
    if (blocked === undefined && options.signal.aborted) blocked = notTried("the call ended before");
    if (blocked !== undefined) {
      outcomes[index] = { ok: false, error: blocked };
      continue;
    }
    try {
      outcomes[index] = { ok: true, result: await options.work(item) };
    } catch (thrown) {
      const error = toGatewayError(thrown);
      outcomes[index] = { ok: false, error };
      if (MAY_PASS.has(error.kind)) {
        blocked = notTried("an item of the same channel before it failed", error.retryAfterMs);
      }
    }
  }
}

function notTried(why: string, retryAfterMs?: number): GatewayError {
  return new GatewayError("unavailable", `not tried: ${why}; send it again`, {
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
