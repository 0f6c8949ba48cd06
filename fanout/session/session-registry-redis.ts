/**
 * The session registry in Redis: one hash for each user in the user's partition, one lease for each edge in
 * a partition of its own. Writes compare generations in the store. Reading takes two round trips, the
 * user's records and then their edges' leases; records of edges that are long gone are swept on the way.
 */
import { encode } from "#proto/encode.js";
import { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import { edgeLeaseKey, userKeys } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { integerOf, listOf, pairsOf, readUint64 } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import type { SessionRegistry } from "./session-registry.js";
import { oldestFirst, SWEEP_GRACE_MS } from "./session-order.js";

const PUT = loadScript(import.meta.url, "./lua/put-session.lua");
const ADMIT = loadScript(import.meta.url, "./lua/admit-session.lua");
const REMOVE = loadScript(import.meta.url, "./lua/remove-sessions.lua");
const READ = loadScript(import.meta.url, "./lua/read-sessions.lua");
const RENEW_EDGE = loadScript(import.meta.url, "./lua/renew-edge.lua");

const DAY_MS = 24 * 3_600_000;
/** Generation and time of the put, before the record. */
const PREFIX_BYTES = 16;

export interface RedisSessionRegistryOptions {
  readonly connection: RedisConnection;
  /** How long a user's sessions are kept after the last put. Default: 24 hours. */
  readonly ttlMs?: number;
}

export class RedisSessionRegistry implements SessionRegistry {
  readonly #connection: RedisConnection;
  readonly #ttlMs: number;

  constructor(options: RedisSessionRegistryOptions) {
    this.#connection = options.connection;
    this.#ttlMs = options.ttlMs ?? DAY_MS;
  }

  async put(record: SessionRecord): Promise<void> {
    const { partition, sessions } = userKeys(record.app, record.userId);
    const encoded = Buffer.from(encode(SessionRecord, record));
    await this.#connection.script(PUT, {
      partition,
      keys: [sessions],
      args: [record.connectionId, record.generation, encoded, this.#ttlMs],
    });
  }

  async remove(record: SessionRecord): Promise<void> {
    await this.#remove(record.app, record.userId, [record]);
  }

  async admit(record: SessionRecord, many: number): Promise<readonly SessionRecord[]> {
    const { partition, sessions } = userKeys(record.app, record.userId);
    const encoded = Buffer.from(encode(SessionRecord, record));
    const reply = await this.#connection.script(ADMIT, {
      partition,
      keys: [sessions],
      args: [record.connectionId, record.generation, encoded, this.#ttlMs, many],
    });
    const all = await this.#living(record.app, record.userId, reply);
    const others = all.filter(({ connectionId }) => connectionId !== record.connectionId);
    return others.length < many ? [] : others;
  }

  async ofUser(app: string, userId: string): Promise<readonly SessionRecord[]> {
    const { partition, sessions } = userKeys(app, userId);
    const reply = await this.#connection.script(READ, { partition, keys: [sessions], args: [] });
    return this.#living(app, userId, reply);
  }

  /** Those at live edges, oldest first, of what a script has read. */
  async #living(app: string, userId: string, reply: unknown): Promise<readonly SessionRecord[]> {
    const [now, stored] = listOf(reply);
    const nowMs = integerOf(now);
    const kept = [...pairsOf(stored)].map(([, bytes]) => ({
      record: SessionRecord.decode(bytes.subarray(PREFIX_BYTES)),
      putAtMs: readUint64(bytes, 8),
    }));
    if (kept.length === 0) return [];

    const leases = await this.#leases(kept.map(({ record }) => record.edgeIncarnation));
    const gone = kept.filter(({ record, putAtMs }) => {
      return leases.get(record.edgeIncarnation) === undefined && putAtMs + SWEEP_GRACE_MS <= nowMs;
    });
    if (gone.length > 0) {
      const records = gone.map(({ record }) => record);
      // Whoever asks next will sweep what is left.
      this.#remove(app, userId, records).catch(() => undefined);
    }
    return kept
      .map(({ record }) => record)
      .filter(({ edgeIncarnation }) => (leases.get(edgeIncarnation) ?? 0) > nowMs)
      .sort(oldestFirst);
  }

  async renewEdge(incarnation: string, leaseMs: number): Promise<void> {
    const { partition, key } = edgeLeaseKey(incarnation);
    await this.#connection.script(RENEW_EDGE, { partition, keys: [key], args: [leaseMs, SWEEP_GRACE_MS] });
  }

  /** When each edge's lease ends or ended; undefined for an edge that is long gone. */
  async #leases(incarnations: readonly string[]): Promise<Map<string, number | undefined>> {
    const distinct = [...new Set(incarnations)];
    const ends = await this.#connection.run(
      (client) => Promise.all(distinct.map((incarnation) => client.get(edgeLeaseKey(incarnation).key))),
      "read-edge-leases",
    );
    return new Map(
      distinct.map((incarnation, index) => {
        const endsAtMs = ends[index];
        return [incarnation, typeof endsAtMs === "string" ? Number(endsAtMs) : undefined];
      }),
    );
  }

  async #remove(app: string, userId: string, records: readonly SessionRecord[]): Promise<void> {
    const { partition, sessions } = userKeys(app, userId);
    await this.#connection.script(REMOVE, {
      partition,
      keys: [sessions],
      args: records.flatMap(({ connectionId, generation }) => [connectionId, generation]),
    });
  }
}
