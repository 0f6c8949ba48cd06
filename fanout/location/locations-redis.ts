/**
 * Last known locations in Redis: one string for each worker, with a lifetime. A put is few calls of one script,
 * all in one round trip. Who is nearby is looked up in the index of cells, and then by these strings alone.
 */
import { locationKey } from "#fanout/redis/keys.js";
import type { Partition } from "#fanout/redis/partitions.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { readUint64 } from "#fanout/redis/reply.js";
import { ScriptBatches } from "#fanout/redis/script-batches.js";
import { loadScript } from "#fanout/redis/scripts.js";
import { RedisLocationIndex } from "./location-index-redis.js";
import type { KnownLocation, Locations, NearbyLocation, NearbySearch, PlacedLocation } from "./locations.js";
import { pickNearby } from "./nearby-search.js";

const PUT = loadScript(import.meta.url, "./lua/put-locations.lua");
const HOUR_MS = 3_600_000;
/** Nothing else runs in Redis while a script does. */
const LOCATIONS_PER_SCRIPT = 100;
const VERSION_BYTES = 8;
/** At most: beyond it workers who are there may be missing from an answer. */
const MAX_CANDIDATES = 10_000;

export interface RedisLocationsOptions {
  readonly connection: RedisConnection;
  /** How long a location is known. Default: an hour. */
  readonly ttlMs?: number;
  /** Default: a clock that only goes on. */
  readonly nowMs?: () => number;
}

export class RedisLocations implements Locations {
  readonly #connection: RedisConnection;
  readonly #ttlMs: number;
  readonly #index: RedisLocationIndex;

  constructor(options: RedisLocationsOptions) {
    this.#connection = options.connection;
    this.#ttlMs = options.ttlMs ?? HOUR_MS;
    this.#index = new RedisLocationIndex({
      connection: options.connection,
      locationTtlMs: this.#ttlMs,
      nowMs: options.nowMs ?? (() => performance.now()),
    });
  }

  async put(locations: readonly PlacedLocation[]): Promise<void> {
    const batches = new ScriptBatches({
      connection: this.#connection,
      script: PUT,
      firstArgs: [this.#ttlMs],
      maxPerCall: LOCATIONS_PER_SCRIPT,
    });
    const stored = locations.map(({ app, workerId, version, payload }) => {
      const { partition, key } = locationKey(app, workerId);
      return batches.add(
        partition,
        [key],
        [version, Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)],
      );
    });
    batches.flush();
    await Promise.all([...stored, this.#index.put(locations)]);
  }

  async get(app: string, workerId: string): Promise<KnownLocation | undefined> {
    const stored = await this.#connection.run(
      (client) => client.getBuffer(locationKey(app, workerId).key),
      "read-location",
    );
    return stored === null ? undefined : read(app, workerId, stored);
  }

  async getMany(app: string, workerIds: readonly string[]): Promise<readonly (KnownLocation | undefined)[]> {
    const byPartition = new Map<Partition, { readonly keys: string[]; readonly at: number[] }>();
    for (const [at, workerId] of workerIds.entries()) {
      const { partition, key } = locationKey(app, workerId);
      const together = byPartition.get(partition) ?? { keys: [], at: [] };
      byPartition.set(partition, together);
      together.keys.push(key);
      together.at.push(at);
    }
    const known = workerIds.map((): KnownLocation | undefined => undefined);
    if (known.length === 0) return known;
    await this.#connection.run(
      (client) =>
        Promise.all(
          [...byPartition.values()].map(async ({ keys, at }) => {
            const stored = await client.mgetBuffer(keys);
            for (const [index, bytes] of stored.entries()) {
              const place = at[index];
              const workerId = place === undefined ? undefined : workerIds[place];
              if (bytes === null || place === undefined || workerId === undefined) continue;
              known[place] = read(app, workerId, bytes);
            }
          }),
        ),
      "read-locations",
    );
    return known;
  }

  /** Entries that lead elsewhere take the places of others, so it may take more than one look. */
  async nearby(search: NearbySearch): Promise<readonly NearbyLocation[]> {
    for (let count = 2 * search.limit + 32; ; count = Math.min(4 * count, MAX_CANDIDATES)) {
      const { workerIds, completeWithinMeters } = await this.#index.find(search, count);
      const known = await this.getMany(search.app, workerIds);
      const found = pickNearby(
        known.filter((location) => location !== undefined),
        search,
      );
      const neededMeters =
        found.length < search.limit ? search.radiusMeters : (found.at(-1)?.distanceMeters ?? 0);
      if (neededMeters <= completeWithinMeters || count >= MAX_CANDIDATES) return found;
    }
  }
}

function read(app: string, workerId: string, stored: Buffer): KnownLocation {
  return { app, workerId, version: readUint64(stored, 0), payload: stored.subarray(VERSION_BYTES) };
}
