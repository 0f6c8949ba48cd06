/**
 * Which workers are in which cell, in Redis: a hint where to look, never the truth, which is the worker's last known
 * location. A worker is indexed again only where they have moved, or once in a minute, so an entry is off by
 * `SLACK_METERS` at most; one that is left behind (a worker in another cell, at another home) finds a location
 * elsewhere, and ends by itself. What is indexed from here is remembered, within a bound: it saves writes, no more.
 */
import { locationCellKeys } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, listOf } from "#fanout/redis/reply.js";
import { ScriptBatches } from "#fanout/redis/script-batches.js";
import { loadScript } from "#fanout/redis/scripts.js";
import { metersBetween, type Point } from "./distance.js";
import { cellOf, cellsWithin } from "./location-cells.js";
import type { NearbySearch, PlacedLocation } from "./locations.js";

const INDEX = loadScript(import.meta.url, "./lua/index-locations.lua");
const FIND = loadScript(import.meta.url, "./lua/find-nearby.lua");

const CHANGES_PER_SCRIPT = 100;
const MOVED_METERS = 50;
/** What was moved, and that Redis takes the earth for a little larger (14 m in 50 km), and rounds places. */
const SLACK_METERS = MOVED_METERS + 50;
const REINDEX_MS = 60_000;
/** Beyond the locations' own: entries are made up to a minute before, by clocks of edges. */
const LIFETIME_BEYOND_MS = 10 * 60_000;
const MAX_REMEMBERED = 100_000;

interface Indexed {
  readonly cell: string;
  readonly point: Point;
  /** Of the newest location, which may not have been indexed. */
  version: number;
  readonly indexedAtMs: number;
}

export interface Candidates {
  readonly workerIds: readonly string[];
  /** Nobody who is nearer than this is missing. */
  readonly completeWithinMeters: number;
}

export class RedisLocationIndex {
  readonly #connection: RedisConnection;
  readonly #lifetimeMs: number;
  readonly #nowMs: () => number;
  readonly #indexed = new Map<string, Indexed>();

  constructor(options: {
    readonly connection: RedisConnection;
    readonly locationTtlMs: number;
    readonly nowMs: () => number;
  }) {
    this.#connection = options.connection;
    this.#lifetimeMs = options.locationTtlMs + LIFETIME_BEYOND_MS;
    this.#nowMs = options.nowMs;
  }

  /** What failed is tried again with the worker's next location. @throws GatewayError unavailable. */
  async put(locations: readonly PlacedLocation[]): Promise<void> {
    const batches = new ScriptBatches({
      connection: this.#connection,
      script: INDEX,
      firstArgs: [this.#lifetimeMs],
      maxPerCall: CHANGES_PER_SCRIPT,
    });
    const written = locations.flatMap((location) => this.#change(location, batches));
    batches.flush();
    await Promise.all(written);
  }

  /** Workers with the `count` nearest entries within the radius and a little beyond. */
  async find({ app, center, radiusMeters }: NearbySearch, count: number): Promise<Candidates> {
    const reachMeters = radiusMeters + SLACK_METERS;
    const answers = await Promise.all(
      cellsWithin(center, reachMeters).map((cell) => {
        const { partition, places, versions } = locationCellKeys(app, cell);
        const args = [this.#lifetimeMs, redisLongitude(center), center.latitude, reachMeters, count];
        return this.#connection.script(FIND, { partition, keys: [places, versions], args });
      }),
    );
    const entries = answers
      .flatMap((answer) => listOf(answer).map(listOf))
      .map(([worker, meters]) => ({
        workerId: bytesOf(worker).toString(),
        meters: Number(bytesOf(meters).toString("latin1")),
      }))
      .sort((left, right) => left.meters - right.meters)
      .slice(0, count);
    const last = entries.at(-1);
    const isAll = last === undefined || entries.length < count;
    return {
      workerIds: [...new Set(entries.map(({ workerId }) => workerId))],
      completeWithinMeters: isAll ? Infinity : last.meters - SLACK_METERS,
    };
  }

  #change(location: PlacedLocation, batches: ScriptBatches): Promise<void>[] {
    const { app, workerId, version, point } = location;
    const cell = point && cellOf(point);
    const key = `${app}/${workerId}`;
    const before = this.#indexed.get(key);
    if (before !== undefined && version <= before.version) return [];
    const changes: Promise<void>[] = [];
    if (before !== undefined) before.version = version;
    if (before !== undefined && before.cell !== cell) {
      const { partition, places, versions } = locationCellKeys(app, before.cell);
      changes.push(batches.add(partition, [places, versions], ["", "", version, workerId]));
      this.#indexed.delete(key);
    }
    if (point !== undefined && cell !== undefined && this.#isDue(before, cell, point)) {
      const { partition, places, versions } = locationCellKeys(app, cell);
      const args = [redisLongitude(point), point.latitude, version, workerId];
      changes.push(batches.add(partition, [places, versions], args));
      this.#remember(key, { cell, point, version, indexedAtMs: this.#nowMs() });
    }
    for (const change of changes) change.catch(() => this.#indexed.delete(key));
    return changes;
  }

  #isDue(before: Indexed | undefined, cell: string, point: Point): boolean {
    if (before?.cell !== cell) return true;
    if (this.#nowMs() - before.indexedAtMs >= REINDEX_MS) return true;
    return metersBetween(before.point, point) > MOVED_METERS;
  }

  /** Whoever was indexed longest ago is forgotten, and indexed once more than needed. */
  #remember(key: string, indexed: Indexed): void {
    this.#indexed.delete(key);
    this.#indexed.set(key, indexed);
    if (this.#indexed.size <= MAX_REMEMBERED) return;
    const oldest = this.#indexed.keys().next();
    if (oldest.done !== true) this.#indexed.delete(oldest.value);
  }
}

/** Redis takes 180 degrees east for a place of its own, which has no neighbours in the west. */
function redisLongitude({ longitude }: Point): number {
  return longitude === 180 ? -180 : longitude;
}
