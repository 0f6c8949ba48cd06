/**
 * The sentinel key of each partition: a random id that is lost only with the partition's data. Who knew another id,
 * or finds none where there was one, knows that the data are gone, and marks the partition as being rebuilt: for
 * that long the directory's "nobody" is no denial. A Redis that was empty from the start is signed as complete.
 *
 * Looked at when asked, at once after a reconnect, and when the directory comes upon a sentinel that is not the known
 * one. A loss is told once; what it means for channels and sessions is its listeners' business.
 */
import { randomBytes } from "node:crypto";
import { GatewayError } from "#proto/errors.js";
import type { DataLossListener, DataLossWatch } from "#fanout/data-loss.js";
import { sentinelKey } from "./keys.js";
import { PARTITIONS, type Partition } from "./partitions.js";
import type { RedisConnection } from "./redis-connection.js";
import { bytesOf, integerOf, listOf } from "./reply.js";
import { loadScript } from "./scripts.js";

const SIGN = loadScript(import.meta.url, "./lua/sign-partition.lua");

export interface PartitionSentinelsOptions {
  readonly connection: RedisConnection;
  /** How long after a loss the directory's absences are no denials. */
  readonly rebuildWindowMs: number;
  /** Told of looks that nobody waits for and that failed. */
  readonly onFault?: (what: string, error: unknown) => void;
}

interface Sentinel {
  readonly id: string;
  /** Milliseconds since 1970-01-01 UTC by Redis's clock; 0: it was never incomplete. */
  readonly completeAtMs: number;
}

export class PartitionSentinels implements DataLossWatch {
  readonly rebuildWindowMs: number;
  readonly #connection: RedisConnection;
  readonly #onFault: (what: string, error: unknown) => void;
  readonly #listeners: DataLossListener[] = [];
  /** By the partition's index. */
  readonly #known = new Map<number, Sentinel>();
  /** Those that were found incomplete, until listeners are told that they are no more. */
  readonly #rebuilding = new Set<number>();
  readonly #stopHearing: () => void;
  #checking: Promise<unknown> = Promise.resolve();
  #willCheck = false;
  #wasUp = true;

  /** Signs what has no sentinel. @throws GatewayError unavailable. */
  static async start(options: PartitionSentinelsOptions): Promise<PartitionSentinels> {
    const sentinels = new PartitionSentinels(options);
    try {
      const unseen = await sentinels.check();
      if (unseen.size > 0) throw new GatewayError("unavailable", "a part of the store is away; try again");
    } catch (error) {
      sentinels.stop();
      throw error;
    }
    return sentinels;
  }

  private constructor(options: PartitionSentinelsOptions) {
    this.#connection = options.connection;
    this.rebuildWindowMs = options.rebuildWindowMs;
    this.#onFault = options.onFault ?? (() => undefined);
    this.#stopHearing = options.connection.onChange(({ isUp }) => {
      if (isUp && !this.#wasUp) this.#checkSoon();
      this.#wasUp = isUp;
    });
  }

  stop(): void {
    this.#stopHearing();
  }

  listen(listener: DataLossListener): void {
    this.#listeners.push(listener);
  }

  /**
   * A look that is under way may have begun before what its caller has read: this one begins after it. Partitions
   * are looked at each for itself: one node that is away hides no loss of another.
   */
  check(): Promise<ReadonlySet<number>> {
    const checking = this.#checking.then(() => this.#check());
    // The next one does not care how this one ended.
    this.#checking = checking.catch(() => undefined);
    return checking;
  }

  /**
   * Whether the directory was complete when a script read this sentinel there: else who is not in it may take part.
   * One that is not the known one is looked at at once.
   */
  isComplete(partition: Partition, stored: Buffer | undefined, nowMs: number): boolean {
    const sentinel = read(stored);
    if (sentinel === undefined || sentinel.id !== this.#known.get(partition.index)?.id) {
      this.#checkSoon();
      return false;
    }
    return sentinel.completeAtMs <= nowMs;
  }

  #checkSoon(): void {
    if (this.#willCheck) return;
    this.#willCheck = true;
    this.check()
      .then((unseen) => {
        if (unseen.size > 0) throw new Error(`${unseen.size} partitions could not be looked at`);
      })
      .catch((error: unknown) => this.#onFault("looking at the sentinels", error))
      .finally(() => (this.#willCheck = false));
  }

  async #check(): Promise<ReadonlySet<number>> {
    // Where nobody says how late it is, nothing becomes complete.
    const asking = this.#connection.timeUs().catch(() => undefined);
    const [nowUs, stored] = await Promise.all([asking, this.#read()]);
    const lost = new Set<number>();
    const rebuilt = new Set<number>();
    const unseen = new Set<number>();
    await Promise.all(
      PARTITIONS.map(async (partition) => {
        const { index } = partition;
        try {
          const known = this.#known.get(index);
          const found = stored[index];
          if (found === undefined) throw new GatewayError("unavailable", "a part of the store is away");
          let sentinel = read(found);
          if (sentinel === undefined || sentinel.id !== known?.id)
            sentinel = await this.#sign(partition, known);
          if (known !== undefined && known.id !== sentinel.id) lost.add(index);
          this.#known.set(index, sentinel);
          const isIncomplete =
            nowUs === undefined
              ? lost.has(index) || this.#rebuilding.has(index)
              : sentinel.completeAtMs > nowUs / 1000;
          if (isIncomplete) this.#rebuilding.add(index);
          else if (this.#rebuilding.delete(index)) rebuilt.add(index);
        } catch {
          unseen.add(index);
        }
      }),
    );
    this.#tell(lost, rebuilt);
    if (lost.size > 0) await this.#connection.checkSchema();
    return unseen;
  }

  /** Undefined where its node did not answer. */
  #read(): Promise<readonly (Buffer | null | undefined)[]> {
    return this.#connection.runEach(
      PARTITIONS.map((partition) => (client) => client.getBuffer(sentinelKey(partition))),
      "read-sentinels",
    );
  }

  async #sign(partition: Partition, known: Sentinel | undefined): Promise<Sentinel> {
    const reply = await this.#connection.script(SIGN, {
      partition,
      keys: [sentinelKey(partition)],
      args: [known?.id ?? "", randomBytes(16).toString("hex"), this.rebuildWindowMs],
    });
    const sentinel = read(bytesOf(listOf(reply)[0]));
    if (sentinel === undefined)
      throw new Error("sign-partition.lua answered with something else than a sentinel");
    return sentinel;
  }

  #tell(lost: ReadonlySet<number>, rebuilt: ReadonlySet<number>): void {
    for (const listener of this.#listeners) {
      if (lost.size > 0) listener.lost(lost);
      if (rebuilt.size > 0) listener.rebuilt(rebuilt);
    }
  }
}

/** `id:time`. Undefined where there is none. */
function read(stored: Buffer | null | undefined): Sentinel | undefined {
  const [id, completeAtMs] = stored?.toString("latin1").split(":") ?? [];
  if (id === undefined || completeAtMs === undefined) return undefined;
  return { id, completeAtMs: integerOf(Buffer.from(completeAtMs)) };
}
