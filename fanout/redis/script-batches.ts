/**
 * Gathers many like calls of one script into few: a call costs Redis and this process far more than what it
 * does to one more key. One Redis takes them all at once; in Cluster each partition has calls of its own, which
 * fail on their own.
 */
import type { Partition } from "./partitions.js";
import type { RedisArgument } from "./redis-clients.js";
import type { RedisConnection } from "./redis-connection.js";
import type { RedisScript } from "./scripts.js";

export interface ScriptBatchesOptions {
  readonly connection: RedisConnection;
  readonly script: RedisScript;
  /** What stands before the arguments of the gathered. */
  readonly firstArgs: readonly RedisArgument[];
  /** Nothing else runs in Redis while a script does. */
  readonly maxPerCall: number;
}

interface Batch {
  readonly partition: Partition | undefined;
  readonly keys: string[];
  readonly args: RedisArgument[];
  count: number;
  readonly done: Promise<void>;
  readonly settle: (outcome: Promise<unknown>) => void;
}

export class ScriptBatches {
  readonly #options: ScriptBatchesOptions;
  /** Those that take more, by partition. */
  #open = new Map<Partition | undefined, Batch>();
  #full: Batch[] = [];

  constructor(options: ScriptBatchesOptions) {
    this.#options = options;
  }

  /** Resolves when the call that has it is answered. @throws GatewayError unavailable. */
  add(partition: Partition, keys: readonly string[], args: readonly RedisArgument[]): Promise<void> {
    const batch = this.#batchOf(this.#options.connection.isCluster ? partition : undefined);
    batch.keys.push(...keys);
    batch.args.push(...args);
    batch.count += 1;
    return batch.done;
  }

  /** Calls the script with everything that was gathered. */
  flush(): void {
    const { connection, script } = this.#options;
    const batches = [...this.#full, ...this.#open.values()];
    this.#full = [];
    this.#open = new Map();
    for (const { partition, keys, args, settle } of batches) {
      settle(connection.script(script, { partition, keys, args }));
    }
  }

  #batchOf(partition: Partition | undefined): Batch {
    const open = this.#open.get(partition);
    if (open !== undefined && open.count < this.#options.maxPerCall) return open;
    if (open !== undefined) this.#full.push(open);
    const batch = emptyBatch(partition, this.#options.firstArgs);
    this.#open.set(partition, batch);
    return batch;
  }
}

function emptyBatch(partition: Partition | undefined, firstArgs: readonly RedisArgument[]): Batch {
  let settle: Batch["settle"] = () => undefined;
  const done = new Promise<void>((resolve, reject) => {
    settle = (outcome) => void outcome.then(() => resolve(), reject);
  });
  return { partition, keys: [], args: [...firstArgs], count: 0, done, settle };
}
