/** `LocationService`: where workers are, and who is around a place, as backend services ask it. */
import {
  LocationServiceService,
  type FindNearbyRequest,
  type FindNearbyResponse,
  type GetLocationsRequest,
  type GetLocationsResponse,
} from "#proto/gen/realtime/api/v1/locations.js";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import type { Locations } from "#fanout/location/locations.js";
import { nearbyRequest, NearbyWorkers } from "#fanout/location/nearby-workers.js";
import type { PresenceStore } from "#fanout/presence/presence-store.js";
import type { StoreClock } from "../store-clock.js";
import { apiMethod, type ApiMethod } from "./api-method.js";
import { checkBatch, FieldCheck } from "./field-check.js";

export interface LocationServiceOptions {
  readonly locations: Pick<Locations, "getMany" | "nearby">;
  readonly presence: Pick<PresenceStore, "presences">;
  readonly clock: StoreClock;
}

const MAX_WORKERS = 100;

export class LocationService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(LocationServiceService.getLocations, (request) => this.#get(request)),
    apiMethod(LocationServiceService.findNearby, (request) => this.#findNearby(request)),
  ];
  readonly #locations: LocationServiceOptions["locations"];
  readonly #nearby: NearbyWorkers;

  constructor(options: LocationServiceOptions) {
    this.#locations = options.locations;
    this.#nearby = new NearbyWorkers(options);
  }

  async #get(request: GetLocationsRequest): Promise<GetLocationsResponse> {
    const check = new FieldCheck("");
    const app = check.app("app", request.app);
    const { workerIds } = request;
    checkBatch("worker_ids", workerIds, MAX_WORKERS);
    for (const [index, workerId] of workerIds.entries()) check.identifier(`worker_ids[${index}]`, workerId);
    const known = await this.#locations.getMany(app, workerIds);
    return {
      locations: workerIds.map((workerId, index) => {
        const last = known[index];
        if (last === undefined) return { workerId, location: undefined, receivedAtMs: 0 };
        const location = Location.decode(last.payload);
        return { workerId, location, receivedAtMs: Math.floor(last.version / 1000) };
      }),
    };
  }

  async #findNearby(request: FindNearbyRequest): Promise<FindNearbyResponse> {
    const check = new FieldCheck("");
    return this.#nearby.find(nearbyRequest(check.app("app", request.app), request, check));
  }
}
