/**
 * Works on the items of batches: those of one order key one after the other, in the order in which they were
 * given and over all batches, different keys side by side and in turn, at most `concurrency` at once. It never
 * rejects: items fail on their own, with one exception that keeps the promise of order. After a failure that may
 * pass, later items of the same key are not tried, unless their sender knew of the failure when it sent them: so
 * who sends the failed ones again gets them in the order that they had. How many batches wait is the caller's to
 * bound, and so is how many failures are remembered (`forget`).
 */
import { GatewayError, toGatewayError, type ErrorName } from "#proto/errors.js";

export type ItemOutcome<Result> =
  { readonly ok: true; readonly result: Result } | { readonly ok: false; readonly error: GatewayError };

export interface OrderedBatchesOptions<Item, Result, Batch> {
  readonly orderKey: (item: Item) => string;
  readonly work: (item: Item) => Promise<Result>;
  readonly concurrency: number;
  /** Whether the sender of the later batch had been told, when it sent it, what became of the earlier one. */
  readonly isInformed: (later: Batch, earlier: Batch) => boolean;
  /** Once aborted, no further item is begun. */
  readonly signal: AbortSignal;
}

/** A batch whose items are not all dealt with. */
interface Run<Result, Batch> {
  readonly batch: Batch;
  readonly outcomes: ItemOutcome<Result>[];
  left: number;
  readonly done: (outcomes: ItemOutcome<Result>[]) => void;
}

interface Place<Item, Result, Batch> {
  readonly run: Run<Result, Batch>;
  readonly index: number;
  readonly item: Item;
}

/** One order key: kept while something waits in it or is under way, or a failure in it is remembered. */
interface Lane<Item, Result, Batch> {
  readonly key: string;
  readonly places: Place<Item, Result, Batch>[];
  isTaken: boolean;
  failure: { readonly batch: Batch; readonly error: GatewayError } | undefined;
}

const MAY_PASS: ReadonlySet<ErrorName> = new Set<ErrorName>([
  "unavailable",
  "internal",
  "rate_limited",
  "expired",
]);

export class OrderedBatches<Item extends object, Result, Batch> {
  readonly #options: OrderedBatchesOptions<Item, Result, Batch>;
  readonly #lanes = new Map<string, Lane<Item, Result, Batch>>();
  /** Lanes with something to do that nobody works on. */
  readonly #waiting: Lane<Item, Result, Batch>[] = [];
  #workers = 0;
  #failures = 0;

  constructor(options: OrderedBatchesOptions<Item, Result, Batch>) {
    this.#options = options;
  }

  /** Keys with a failure that is remembered. */
  get failures(): number {
    return this.#failures;
  }

  /** One outcome for each item, in their order. Items that were refused before are passed as their error. */
  run(batch: Batch, items: readonly (Item | GatewayError)[]): Promise<ItemOutcome<Result>[]> {
    return new Promise((done) => {
      const run = { batch, outcomes: new Array<ItemOutcome<Result>>(items.length), left: items.length, done };
      items.forEach((item, index) => {
        if (item instanceof GatewayError) settle({ run, index }, { ok: false, error: item });
        else this.#place({ run, index, item });
      });
      if (items.length === 0) done([]);
      while (this.#workers < this.#options.concurrency && this.#waiting.length > 0) {
        this.#workers += 1;
        void this.#work();
      }
    });
  }

  /** Forgets failures in batches of which every sender will have known. */
  forget(isKnown: (batch: Batch) => boolean): void {
    for (const lane of this.#lanes.values()) {
      if (lane.failure === undefined || !isKnown(lane.failure.batch)) continue;
      this.#setFailure(lane, undefined);
      this.#release(lane);
    }
  }

  #place(place: Place<Item, Result, Batch>): void {
    const key = this.#options.orderKey(place.item);
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = { key, places: [], isTaken: false, failure: undefined };
      this.#lanes.set(key, lane);
    }
    lane.places.push(place);
    if (lane.isTaken || lane.places.length > 1) return;
    this.#waiting.push(lane);
  }

  async #work(): Promise<void> {
    for (let lane = this.#waiting.shift(); lane !== undefined; lane = this.#waiting.shift()) {
      const place = lane.places.shift();
      if (place === undefined) continue;
      lane.isTaken = true;
      settle(place, await this.#outcomeOf(place, lane));
      lane.isTaken = false;
      // Behind the others, so that a key with much to do does not hold them up.
      if (lane.places.length > 0) this.#waiting.push(lane);
      else this.#release(lane);
    }
    this.#workers -= 1;
  }

  async #outcomeOf(
    { run, item }: Place<Item, Result, Batch>,
    lane: Lane<Item, Result, Batch>,
  ): Promise<ItemOutcome<Result>> {
    const { isInformed, signal, work } = this.#options;
    const { failure } = lane;
    if (failure !== undefined) {
      if (!isInformed(run.batch, failure.batch)) {
        const why = "an item of the same channel before it failed";
        return { ok: false, error: notTried(why, failure.error.retryAfterMs) };
      }
      this.#setFailure(lane, undefined);
    }
    if (signal.aborted) return { ok: false, error: notTried("the call ended before") };
    try {
      return { ok: true, result: await work(item) };
    } catch (thrown) {
      const error = toGatewayError(thrown);
      if (MAY_PASS.has(error.kind)) this.#setFailure(lane, { batch: run.batch, error });
      return { ok: false, error };
    }
  }

  #setFailure(lane: Lane<Item, Result, Batch>, failure: Lane<Item, Result, Batch>["failure"]): void {
    this.#failures += Number(failure !== undefined) - Number(lane.failure !== undefined);
    lane.failure = failure;
  }

  #release(lane: Lane<Item, Result, Batch>): void {
    const isIdle = !lane.isTaken && lane.places.length === 0;
    if (isIdle && lane.failure === undefined) this.#lanes.delete(lane.key);
  }
}

function settle<Result, Batch>(
  { run, index }: { readonly run: Run<Result, Batch>; readonly index: number },
  outcome: ItemOutcome<Result>,
): void {
  run.outcomes[index] = outcome;
  run.left -= 1;
  if (run.left === 0) run.done(run.outcomes);
}

function notTried(why: string, retryAfterMs?: number): GatewayError {
  return new GatewayError("unavailable", `not tried: ${why}; send it again`, {
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
