/**
 * The outbox in Redis: a stream for each partition, to which `channel/lua/publish-durable.lua` adds, with a
 * sharded pub/sub channel that says so; a lease is a key with a lifetime, changed only by compare-and-set.
 *
 * Entries are deleted by their ids, never by a range: after a failover ids may begin again below those that
 * were read, and a range would take along what nobody has sent.
 */
import { outboxPayload } from "#fanout/offer/change-record.js";
import { outboxKeys, outboxLeaseKey } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf, pairsOf } from "#fanout/redis/reply.js";
import { loadScript, type RedisScript } from "#fanout/redis/scripts.js";
import { LEASED_PARTITIONS } from "./outbox.js";
import type { Outbox, OutboxBacklog, OutboxEntry, OutboxPage, ReadLimits } from "./outbox.js";

const TAKE = loadScript(import.meta.url, "./lua/take-lease.lua");
const RENEW = loadScript(import.meta.url, "./lua/renew-lease.lua");
const RELEASE = loadScript(import.meta.url, "./lua/release-lease.lua");
const READ = loadScript(import.meta.url, "./lua/read-outbox.lua");
const READ_BACKLOG = loadScript(import.meta.url, "./lua/read-backlog.lua");

export class RedisOutbox implements Outbox {
  readonly #connection: RedisConnection;

  constructor(options: { readonly connection: RedisConnection }) {
    this.#connection = options.connection;
  }

  async take(lease: number, holder: string, lifetimeMs: number): Promise<boolean> {
    return integerOf(await this.#onLease(TAKE, lease, [holder, lifetimeMs])) === 1;
  }

  async renew(lease: number, holder: string, lifetimeMs: number): Promise<boolean> {
    return integerOf(await this.#onLease(RENEW, lease, [holder, lifetimeMs])) === 1;
  }

  async release(lease: number, holder: string): Promise<void> {
    await this.#onLease(RELEASE, lease, [holder]);
  }

  async read(partition: number, limits: ReadLimits): Promise<OutboxPage> {
    const keys = outboxKeys(partition);
    const reply = listOf(
      await this.#connection.script(READ, {
        partition: keys.partition,
        keys: [keys.outbox],
        args: [limits.maxEntries, limits.maxBytes],
      }),
    );
    return { entries: listOf(reply[1]).map(readEntry), hasMore: integerOf(reply[0]) === 1 };
  }

  async remove(partition: number, entries: readonly OutboxEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const { outbox } = outboxKeys(partition);
    const ids = entries.map(({ id }) => id);
    await this.#connection.run((client) => client.xdel(outbox, ...ids), "xdel");
  }

  async backlog(partitions: readonly number[]): Promise<readonly OutboxBacklog[]> {
    // Asked for in one turn, so they share a round trip.
    return Promise.all(
      partitions.map(async (index) => {
        const { partition, outbox } = outboxKeys(index);
        const reply = listOf(
          await this.#connection.script(READ_BACKLOG, { partition, keys: [outbox], args: [] }),
        );
        return { count: integerOf(reply[0]), oldestAgeMs: integerOf(reply[1]) };
      }),
    );
  }

  async listen(partition: number, onNews: () => void): Promise<void> {
    const keys = outboxKeys(partition);
    await this.#connection.subscriber.subscribe(keys.outboxNews, {
      partition: keys.partition,
      onMessage: onNews,
      onResubscribed: onNews,
    });
  }

  unlisten(partition: number): void {
    this.#connection.subscriber.unsubscribe(outboxKeys(partition).outboxNews);
  }

  /** A lease lies in the first of the partitions that it is for. */
  #onLease(script: RedisScript, lease: number, args: readonly (string | number)[]): Promise<unknown> {
    const first = LEASED_PARTITIONS[lease]?.[0];
    if (first === undefined) throw new RangeError("there is no such lease");
    const { partition, key } = outboxLeaseKey(lease, first);
    return this.#connection.script(script, { partition, keys: [key], args });
  }
}

/** A field that is missing is empty: what cannot be relayed is for the relay to say. */
function readEntry(entry: unknown): OutboxEntry {
  const [id, list] = listOf(entry);
  const fields = new Map<string, Buffer>();
  for (const [field, value] of pairsOf(list)) fields.set(field.toString("latin1"), value);
  const text = (name: string): string => fields.get(name)?.toString() ?? "";
  const payload = fields.get("payload") ?? Buffer.alloc(0);
  // A script adds changes of offers without being able to encode their events.
  const changeText = text("offer-change");
  return {
    id: bytesOf(id).toString("latin1"),
    topic: text("topic"),
    key: text("key"),
    eventId: text("event"),
    channel: text("channel"),
    epoch: text("epoch"),
    offset: Number(text("offset")),
    timeMs: Number(text("time")),
    payload: changeText === "" ? payload : outboxPayload(payload, { eventId: text("event"), changeText }),
  };
}
