/**
 * Last known locations in Redis: one string for each worker, with a lifetime. A put is few calls of one script,
 * all in one round trip.
 */
import { locationKey } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { readUint64 } from "#fanout/redis/reply.js";
import { ScriptBatches } from "#fanout/redis/script-batches.js";
import { loadScript } from "#fanout/redis/scripts.js";
import type { KnownLocation, Locations } from "./locations.js";

const PUT = loadScript(import.meta.url, "./lua/put-locations.lua");
const HOUR_MS = 3_600_000;
/** Nothing else runs in Redis while a script does. */
const LOCATIONS_PER_SCRIPT = 100;
const VERSION_BYTES = 8;

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
    await Promise.all(stored);
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
