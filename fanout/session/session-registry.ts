/**
 * The session registry port: which connections a user has over all edges. It serves questions ("who is
 * connected") and later resumes; no live socket depends on it.
 *
 * A record refers to an edge incarnation and is void when that incarnation's lease has ended: a killed
 * edge leaves no ghosts. Implementations: `session-registry-memory.ts`, `session-registry-redis.ts`,
 * one contract suite for both. Fails with GatewayError `unavailable` while the store is away.
 */
import type { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";

export interface SessionRegistry {
  /** Keeps the record unless one of a greater generation is stored under the same connection. */
  put(record: SessionRecord): Promise<void>;
  /**
   * As `put`; answers the user's other connections at live edges as they were in that very moment, oldest first; none
   * where there are fewer than `many`. Of several that come at once each sees those that came before it.
   */
  admit(record: SessionRecord, many: number): Promise<readonly SessionRecord[]>;
  /** Removes it unless a greater generation is stored. */
  remove(record: SessionRecord): Promise<void>;
  /** A user's connections at live edges, oldest first. */
  ofUser(app: string, userId: string): Promise<readonly SessionRecord[]>;
  /** Keeps an edge incarnation's records alive for so long from now. */
  renewEdge(incarnation: string, leaseMs: number): Promise<void>;
}
