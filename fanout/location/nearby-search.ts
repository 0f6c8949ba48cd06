/** Picks, out of last known locations, those that a search asks for: what every implementation of the port ends with. */
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import { metersBetween } from "./distance.js";
import type { KnownLocation, NearbyLocation, NearbySearch } from "./locations.js";

/** The nearest first; of workers that are equally far, by their ids. */
export function pickNearby(known: Iterable<KnownLocation>, search: NearbySearch): readonly NearbyLocation[] {
  const found: NearbyLocation[] = [];
  for (const { workerId, version, payload } of known) {
    const location = Location.decode(payload);
    const distanceMeters = metersBetween(search.center, location);
    if (distanceMeters <= search.radiusMeters) found.push({ workerId, version, location, distanceMeters });
  }
  return found.sort(byDistance).slice(0, search.limit);
}

function byDistance(left: NearbyLocation, right: NearbyLocation): number {
  return left.distanceMeters - right.distanceMeters || (left.workerId < right.workerId ? -1 : 1);
}
