/**
 * Writes last known locations to the store in batches: of each worker only the newest of the batch. While
 * the store is away the newest are kept, up to a bound, and written when it is back.
 */
import type { FanoutCounters } from "../fanout-counters.js";
import type { Locations, PlacedLocation } from "./locations.js";

const BATCH_MS = 100;
const MAX_WAITING = 100_000;

export class LocationWriter {
  #waiting = new Map<string, PlacedLocation>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;

  constructor(
    private readonly options: {
      readonly locations: Pick<Locations, "put">;
      readonly counters: FanoutCounters;
    },
  ) {}

  get waiting(): number {
    return this.#waiting.size;
  }

  write(location: PlacedLocation): void {
    const key = `${location.app}/${location.workerId}`;
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined && waiting.version >= location.version) return;
    if (waiting === undefined && this.#waiting.size >= MAX_WAITING) return;
    this.#waiting.set(key, location);
    this.#timer ??= setTimeout(() => this.#flush(), BATCH_MS);
  }

  /** Writes what waits; resolves when it is written or the store refused it. */
  async stop(): Promise<void> {
    await this.#writing;
    this.#flush();
    await this.#writing;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing !== undefined || this.#waiting.size === 0) return;
    const batch = this.#waiting;
    this.#waiting = new Map();
    this.#writing = this.options.locations
      .put([...batch.values()])
      .catch(() => {
        this.options.counters.storeFailures += 1;
        for (const [key, location] of batch) {
          if (this.#waiting.size >= MAX_WAITING) break;
          if (!this.#waiting.has(key)) this.#waiting.set(key, location);
        }
      })
      .finally(() => {
        this.#writing = undefined;
        if (this.#waiting.size > 0) this.#timer ??= setTimeout(() => this.#flush(), BATCH_MS);
      });
  }
}
