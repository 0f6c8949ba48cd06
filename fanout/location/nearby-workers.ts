/**
 * Which workers are around a place: who is near by their last known locations, and then whether these are fresh
 * enough and the workers take offers. It looks at a thousand workers at most, and says where that was not enough.
 */
import type { NearbyPage } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { FieldCheck } from "#fanout/api/field-check.js";
import { presenceUpdate } from "#fanout/presence/presence-channel.js";
import type { PresenceStore, UserPresence } from "#fanout/presence/presence-store.js";
import type { StoreClock } from "../store-clock.js";
import { MAX_LATITUDE } from "./location-cells.js";
import {
  MAX_NEARBY,
  MAX_RADIUS_METERS,
  type Locations,
  type NearbyLocation,
  type NearbySearch,
} from "./locations.js";

export interface NearbyRequest extends NearbySearch {
  readonly isAvailableOnly: boolean;
  /** 0: as old as they are kept. */
  readonly maxAgeMs: number;
}

/** A request as the contracts have it. */
export interface NearbyFields {
  readonly latitude?: number | undefined;
  readonly longitude?: number | undefined;
  readonly radiusMeters: number;
  readonly limit: number;
  readonly availableOnly: boolean;
  readonly maxAgeMs: number;
}

const MAX_LIMIT = 100;
const DEFAULT_LIMIT = 20;
const MAX_AGE_MS = 30 * 86_400_000;
/** Where some are left out it looks at so many times more. */
const MORE_AT_A_TIME = 4;

export class NearbyWorkers {
  constructor(
    private readonly options: {
      readonly locations: Pick<Locations, "nearby">;
      readonly presence: Pick<PresenceStore, "presences">;
      readonly clock: StoreClock;
    },
  ) {}

  /** @throws GatewayError unavailable. */
  async find(request: NearbyRequest): Promise<NearbyPage> {
    const { app, limit, isAvailableOnly, maxAgeMs } = request;
    const presences = new Map<string, UserPresence>();
    const isFiltered = isAvailableOnly || maxAgeMs > 0;
    for (let take = isFiltered ? MORE_AT_A_TIME * limit : limit; ; take *= MORE_AT_A_TIME) {
      const bound = Math.min(take, MAX_NEARBY);
      const found = await this.options.locations.nearby({ ...request, limit: bound });
      const fresh = found.filter(({ version }) => this.#isFresh(version, maxAgeMs));
      await this.#learn(app, isAvailableOnly ? fresh : fresh.slice(0, limit), presences);
      const fitting = isAvailableOnly
        ? fresh.filter(({ workerId }) => presences.get(workerId)?.isAvailable === true)
        : fresh;
      const isAll = found.length < bound;
      if (fitting.length >= limit || isAll || bound === MAX_NEARBY) {
        return {
          workers: fitting.slice(0, limit).map((worker) => toWorker(worker, presences)),
          truncated: fitting.length < limit && !isAll,
        };
      }
    }
  }

  #isFresh(version: number, maxAgeMs: number): boolean {
    return maxAgeMs === 0 || this.options.clock.nowUs() - version <= maxAgeMs * 1000;
  }

  async #learn(
    app: string,
    workers: readonly NearbyLocation[],
    presences: Map<string, UserPresence>,
  ): Promise<void> {
    const unknown = workers.map(({ workerId }) => workerId).filter((workerId) => !presences.has(workerId));
    if (unknown.length === 0) return;
    for (const presence of await this.options.presence.presences(app, unknown)) {
      presences.set(presence.userId, presence);
    }
  }
}

/** @throws GatewayError invalid_argument naming the field. */
export function nearbyRequest(app: string, fields: NearbyFields, check: FieldCheck): NearbyRequest {
  const { latitude = Number.NaN, longitude = Number.NaN, radiusMeters, limit, maxAgeMs } = fields;
  check.range("latitude", latitude, { from: -MAX_LATITUDE, to: MAX_LATITUDE });
  check.range("longitude", longitude, { from: -180, to: 180 });
  check.range("radius_meters", radiusMeters, { from: 1, to: MAX_RADIUS_METERS });
  check.range("limit", limit, { from: 0, to: MAX_LIMIT });
  check.range("max_age_ms", maxAgeMs, { from: 0, to: MAX_AGE_MS });
  return {
    app,
    center: { latitude, longitude },
    radiusMeters,
    limit: limit === 0 ? DEFAULT_LIMIT : limit,
    isAvailableOnly: fields.availableOnly,
    maxAgeMs,
  };
}

function toWorker(
  { workerId, version, location, distanceMeters }: NearbyLocation,
  presences: ReadonlyMap<string, UserPresence>,
): NearbyPage["workers"][number] {
  const presence = presences.get(workerId);
  return {
    location,
    distanceMeters,
    receivedAtMs: Math.floor(version / 1000),
    presence: presence && presenceUpdate(presence),
  };
}
