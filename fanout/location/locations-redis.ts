/**
 * Last known locations in Redis: one string for each worker, with a lifetime. A put is one script for each
 * partition that its workers lie in, all in one round trip.
 */
import { locationKey } from "#fanout/redis/keys.js";
import type { Partition } from "#fanout/redis/partitions.js";
import type { RedisArgument } from "#fanout/redis/redis-clients.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { readUint64 } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import type { KnownLocation, Locations } from "./locations.js";

const PUT = loadScript(import.meta.url, "./lua/put-locations.lua");
const HOUR_MS = 3_600_000;
/** Nothing else runs in Redis while a script does. */
const LOCATIONS_PER_SCRIPT = 100;
const VERSION_BYTES = 8;

interface Batch {
  readonly partition: Partition;
  readonly keys: string[];
  readonly args: RedisArgument[];
}

export interface RedisLocationsOptions {
  readonly connection: RedisConnection;
  /** How long a location is known. Default: an hour. */
  readonly ttlMs?: number;
}

export class RedisLocations implements Locations {
  readonly #connection: RedisConnection;
  readonly #ttlMs: number;

  constructor(options: RedisLocationsOptions) {
    this.#connection = options.connection;
    this.#ttlMs = options.ttlMs ?? HOUR_MS;
  }

  async put(locations: readonly KnownLocation[]): Promise<void> {
    const open = new Map<number, Batch>();
    const batches: Batch[] = [];
    for (const { app, workerId, version, payload } of locations) {
      const { partition, key } = locationKey(app, workerId);
      let batch = open.get(partition.index);
      if (!batch || batch.keys.length >= LOCATIONS_PER_SCRIPT) {
        batch = { partition, keys: [], args: [this.#ttlMs] };
        open.set(partition.index, batch);
        batches.push(batch);
      }
      batch.keys.push(key);
      batch.args.push(version, Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength));
    }
    await Promise.all(batches.map((batch) => this.#connection.script(PUT, batch)));
  }

  async get(app: string, workerId: string): Promise<KnownLocation | undefined> {
    const stored = await this.#connection.run(
      (client) => client.getBuffer(locationKey(app, workerId).key),
      "read-location",
    );
    if (!stored) return undefined;
    return { app, workerId, version: readUint64(stored, 0), payload: stored.subarray(VERSION_BYTES) };
  }
}
