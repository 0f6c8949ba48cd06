/**
 * The locations port: the last known location of each worker, kept for an hour (configurable), and who is near a
 * place. Implementations: `locations-memory.ts`, `locations-redis.ts`, one contract suite for both.
 * Fails with GatewayError `unavailable` while the store is away.
 */
import type { Location } from "#proto/gen/realtime/client/v1/event.js";
import type { Point } from "./distance.js";

export interface KnownLocation {
  readonly app: string;
  readonly workerId: string;
  /** Microseconds since 1970-01-01 UTC, when the edge read it. Only a greater version replaces. */
  readonly version: number;
  /** An encoded `realtime.client.v1.Location`. */
  readonly payload: Uint8Array;
}

/** A location as it is put. */
export interface PlacedLocation extends KnownLocation {
  /** Where it is; without it the worker is found by nobody who looks nearby. */
  readonly point?: Point;
}

export interface NearbySearch {
  readonly app: string;
  /** Not beyond `MAX_LATITUDE`. */
  readonly center: Point;
  /** At most `MAX_RADIUS_METERS`. */
  readonly radiusMeters: number;
  /** At most `MAX_NEARBY`. */
  readonly limit: number;
}

export interface NearbyLocation {
  readonly workerId: string;
  readonly version: number;
  readonly location: Location;
  readonly distanceMeters: number;
}

export const MAX_RADIUS_METERS = 50_000;
export const MAX_NEARBY = 1_000;

export interface Locations {
  /** Keeps each that is newer than the stored one. One round trip for all of them. */
  put(locations: readonly PlacedLocation[]): Promise<void>;
  /** The last known location of a worker, or undefined. */
  get(app: string, workerId: string): Promise<KnownLocation | undefined>;
  /** Of several workers, in their order. */
  getMany(app: string, workerIds: readonly string[]): Promise<readonly (KnownLocation | undefined)[]>;
  /** The workers whose last known locations are within the radius, the nearest first. */
  nearby(search: NearbySearch): Promise<readonly NearbyLocation[]>;
}
