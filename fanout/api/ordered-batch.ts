/**
 * One batch of a call that has no other: worked on as `ordered-batches.ts` says, after a failure that may pass
 * without the later items of the same order key.
 */
import type { GatewayError } from "#proto/errors.js";
import { OrderedBatches, type ItemOutcome } from "./ordered-batches.js";

export type { ItemOutcome } from "./ordered-batches.js";

export interface OrderedBatchOptions<Item, Result> {
  /** Items that were refused before are passed as their error and keep their place. */
  readonly items: readonly (Item | GatewayError)[];
  readonly orderKey: (item: Item) => string;
  readonly work: (item: Item) => Promise<Result>;
  readonly concurrency: number;
  /** Once aborted, no further item is begun. */
  readonly signal: AbortSignal;
}

/**
 * One outcome for each item, in their order.
 * @throws GatewayError unavailable where every single item failed with that: then the call as a whole could not be done.
 */
export async function runOrdered<Item extends object, Result>(
  options: OrderedBatchOptions<Item, Result>,
): Promise<ItemOutcome<Result>[]> {
  const { items, ...how } = options;
  const outcomes = await new OrderedBatches({ ...how, isInformed: () => false }).run(undefined, items);
  const [first] = outcomes;
  if (first?.ok === false && outcomes.every((each) => !each.ok && each.error.kind === "unavailable")) {
    throw first.error;
  }
  return outcomes;
}
