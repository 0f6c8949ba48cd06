/** The versions of the link protocol that this release speaks, and how two sides agree on one. */
import type { ProtocolRange } from "#proto/gen/realtime/link/v1/link.js";

export const LINK_PROTOCOL: ProtocolRange = { min: 1, max: 1 };

/** Whether a side that speaks `ours` understands this version. */
export function speaks(ours: ProtocolRange, version: number): boolean {
  return version >= ours.min && version <= ours.max;
}

/** The highest version that both speak, or undefined. */
export function commonProtocol(ours: ProtocolRange, theirs: ProtocolRange | undefined): number | undefined {
  if (theirs === undefined) return undefined;
  const highest = Math.min(ours.max, theirs.max);
  return highest >= Math.max(ours.min, theirs.min) ? highest : undefined;
}
