/**
 * The earth in cells of about 11 km each way, everywhere: rows of a tenth of a degree, with fewer columns towards
 * the poles. Workers are indexed by cell, so that neighbours lie together and no city lies in one place alone.
 */
import { EARTH_RADIUS_METERS, type Point } from "./distance.js";

/** As far north and south as Redis can index. */
export const MAX_LATITUDE = 85;

const ROW_DEGREES = 0.1;
const LAST_ROW = 180 / ROW_DEGREES - 1;
const RADIANS = Math.PI / 180;

/** The name of the cell that a place is in; undefined near the poles, where nobody is looked for. */
export function cellOf({ latitude, longitude }: Point): string | undefined {
  if (Math.abs(latitude) > MAX_LATITUDE) return undefined;
  const row = rowOf(latitude);
  return nameOf(row, columnOf(row, longitude));
}

/** All cells that a circle touches, each once; its centre is no nearer to a pole than `MAX_LATITUDE`. */
export function cellsWithin(center: Point, radiusMeters: number): readonly string[] {
  const angle = radiusMeters / EARTH_RADIUS_METERS;
  const latitudeReach = angle / RADIANS;
  const longitudeReach =
    Math.asin(Math.min(1, Math.sin(angle) / Math.cos(center.latitude * RADIANS))) / RADIANS;
  const cells = new Set<string>();
  for (
    let row = rowOf(center.latitude - latitudeReach);
    row <= rowOf(center.latitude + latitudeReach);
    row++
  ) {
    const columns = columnsOf(row);
    const first = Math.floor(((center.longitude - longitudeReach + 180) / 360) * columns);
    const last = Math.floor(((center.longitude + longitudeReach + 180) / 360) * columns);
    for (let column = first; column <= last; column++) {
      cells.add(nameOf(row, ((column % columns) + columns) % columns));
    }
  }
  return [...cells];
}

function rowOf(latitude: number): number {
  return Math.min(Math.max(Math.floor((latitude + 90) / ROW_DEGREES), 0), LAST_ROW);
}

function columnsOf(row: number): number {
  const middle = (row + 0.5) * ROW_DEGREES - 90;
  return Math.max(1, Math.round((360 * Math.cos(middle * RADIANS)) / ROW_DEGREES));
}

/** 180 degrees east are 180 degrees west. */
function columnOf(row: number, longitude: number): number {
  const columns = columnsOf(row);
  return Math.floor(((longitude + 180) / 360) * columns) % columns;
}

function nameOf(row: number, column: number): string {
  return `${row}-${column}`;
}
