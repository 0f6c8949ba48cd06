/**
 * The locations port: the last known location of each worker, kept for an hour (configurable).
 * Implementations: `locations-memory.ts`, `locations-redis.ts`, one contract suite for both.
 * Fails with GatewayError `unavailable` while the store is away.
 */
export interface KnownLocation {
  readonly app: string;
  readonly workerId: string;
  /** Only a greater version replaces. */
  readonly version: number;
  /** An encoded `realtime.client.v1.Location`. */
  readonly payload: Uint8Array;
}

export interface Locations {
  /** Keeps each that is newer than the stored one. One round trip for all of them. */
  put(locations: readonly KnownLocation[]): Promise<void>;
  /** The last known location of a worker, or undefined. */
  get(app: string, workerId: string): Promise<KnownLocation | undefined>;
}
