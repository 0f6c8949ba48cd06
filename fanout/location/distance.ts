/**
 * Distances between places on the earth, taken as a sphere: off by half a percent at most, which is less than what
 * phones know of where they are.
 */
export interface Point {
  /** Degrees north (WGS 84). */
  readonly latitude: number;
  /** Degrees east (WGS 84). */
  readonly longitude: number;
}

export const EARTH_RADIUS_METERS = 6_371_009;
const RADIANS = Math.PI / 180;

/** Along the ground. */
export function metersBetween(from: Point, to: Point): number {
  const sineLatitude = Math.sin(((to.latitude - from.latitude) * RADIANS) / 2);
  const sineLongitude = Math.sin(((to.longitude - from.longitude) * RADIANS) / 2);
  const chord =
    sineLatitude ** 2 +
    Math.cos(from.latitude * RADIANS) * Math.cos(to.latitude * RADIANS) * sineLongitude ** 2;
  return 2 * EARTH_RADIUS_METERS * Math.asin(Math.min(1, Math.sqrt(chord)));
}
