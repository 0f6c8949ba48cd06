/** What the session registry's implementations share: the order of a user's connections, and when the dead are swept. */
import type { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";

/**
 * A record is swept no sooner than so long after it was put, and its edge's lease no sooner after its end:
 * a record may be put before its edge's first lease, and leases lapse while the store is away.
 */
export const SWEEP_GRACE_MS = 60_000;

export function oldestFirst(left: SessionRecord, right: SessionRecord): number {
  return left.connectedAtMs - right.connectedAtMs || (left.connectionId < right.connectionId ? -1 : 1);
}
