/**
 * Last known locations in this process: the embedded default. What has expired goes when it is touched, or swept. Who
 * looks nearby looks at all of them: one process has as many workers as that is quick for.
 */
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import { cellOf } from "./location-cells.js";
import type { KnownLocation, Locations, NearbyLocation, NearbySearch, PlacedLocation } from "./locations.js";
import { pickNearby } from "./nearby-search.js";

const HOUR_MS = 3_600_000;
const SWEEP_INTERVAL_MS = 60_000;

export interface MemoryLocationsOptions {
  readonly clock?: StoreClock;
  /** How long a location is known. Default: an hour. */
  readonly ttlMs?: number;
}

export class MemoryLocations implements Locations {
  readonly #clock: StoreClock;
  readonly #ttlMs: number;
  readonly #known = new Map<
    string,
    { readonly location: KnownLocation; readonly isPlaced: boolean; readonly expiresAtMs: number }
  >();
  #sweptAtMs = 0;

  constructor(options: MemoryLocationsOptions = {}) {
    this.#clock = options.clock ?? new SystemClock();
    this.#ttlMs = options.ttlMs ?? HOUR_MS;
  }

  /** How many are remembered. */
  get size(): number {
    return this.#known.size;
  }

  async put(locations: readonly PlacedLocation[]): Promise<void> {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptAtMs >= SWEEP_INTERVAL_MS) this.#sweep(nowMs);
    for (const { point, ...location } of locations) {
      const key = keyOf(location.app, location.workerId);
      const stored = this.#known.get(key);
      if (stored && stored.expiresAtMs > nowMs && location.version <= stored.location.version) continue;
      this.#known.set(key, {
        location,
        isPlaced: point !== undefined && cellOf(point) !== undefined,
        expiresAtMs: nowMs + this.#ttlMs,
      });
    }
  }

  async get(app: string, workerId: string): Promise<KnownLocation | undefined> {
    const stored = this.#known.get(keyOf(app, workerId));
    return stored && stored.expiresAtMs > this.#nowMs() ? stored.location : undefined;
  }

  getMany(app: string, workerIds: readonly string[]): Promise<readonly (KnownLocation | undefined)[]> {
    return Promise.all(workerIds.map((workerId) => this.get(app, workerId)));
  }

  async nearby(search: NearbySearch): Promise<readonly NearbyLocation[]> {
    return pickNearby(this.#placedIn(search.app), search);
  }

  *#placedIn(app: string): Generator<KnownLocation> {
    const nowMs = this.#nowMs();
    for (const { location, isPlaced, expiresAtMs } of this.#known.values()) {
      if (isPlaced && location.app === app && expiresAtMs > nowMs) yield location;
    }
  }

  #nowMs(): number {
    return Math.floor(this.#clock.nowUs() / 1000);
  }

  #sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const [key, { expiresAtMs }] of this.#known) if (expiresAtMs <= nowMs) this.#known.delete(key);
  }
}

function keyOf(app: string, workerId: string): string {
  return JSON.stringify([app, workerId]);
}
