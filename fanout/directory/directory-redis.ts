/**
 * The directory in Redis. The channel's record in the channel's partition is the truth and is written
 * first; the user's index in the user's partition is written second, with the stamp of the first write, so
 * that of two writes that overtake each other the same one wins in both. A writer that dies between the
 * two leaves an index that lags: repeating the write, which is idempotent, mends it.
 *
 * After the store lost it, what is not found here is open until it is rebuilt: see `partition-sentinels.ts`.
 */
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { channelKeys, sentinelKey, userKeys } from "#fanout/redis/keys.js";
import type { PartitionSentinels } from "#fanout/redis/partition-sentinels.js";
import type { Partition } from "#fanout/redis/partitions.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf, optionalBytesOf, pairsOf } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import {
  PartUnknownError,
  type Directory,
  type DirectoryRecord,
  type Participation,
  type Relation,
} from "./directory.js";

const WRITE = loadScript(import.meta.url, "./lua/write-participation.lua");
const READ = loadScript(import.meta.url, "./lua/read-participations.lua");

const RELATIONS: ReadonlySet<string> = new Set<Relation>(["owner", "assigned", "member", "merchant"]);
const ENDED = "-";

/** What the directory must know of the sentinels of partitions. */
export type Sentinels = Pick<PartitionSentinels, "isComplete" | "rebuildWindowMs">;

/** A record of a channel, or the index of a user. */
interface Place {
  readonly partition: Partition;
  readonly parts: string;
  readonly version: string;
}

interface Found {
  readonly field: string;
  /** Undefined where the part ended. */
  readonly relation: Relation | undefined;
  readonly expiresAtMs: number;
  /** When it was written, in microseconds: see `write-participation.lua`. */
  readonly stamp: number;
}

interface Read {
  readonly found: readonly Found[];
  readonly isComplete: boolean;
  readonly version: number;
}

export class RedisDirectory implements Directory {
  readonly #connection: RedisConnection;
  readonly #sentinels: Sentinels;

  constructor(options: { readonly connection: RedisConnection; readonly sentinels: Sentinels }) {
    this.#connection = options.connection;
    this.#sentinels = options.sentinels;
  }

  async grant({ channel, userId, relation, expiresAtMs }: Participation): Promise<void> {
    await this.#write(channel, userId, { relation, expiresAtMs });
  }

  async end(channel: Channel, userId: string): Promise<void> {
    await this.#write(channel, userId, { relation: ENDED, expiresAtMs: 0 });
  }

  async participation(channel: Channel, userId: string): Promise<Participation | undefined> {
    const read = await this.#read(placeOf(channel), userId);
    const [part] = recordFrom(read, (field) => ({ channel, userId: field })).parts;
    if (read.found.length > 0 || read.isComplete) return part;
    throw new PartUnknownError();
  }

  async participants(channel: Channel): Promise<readonly Participation[]> {
    return (await this.recordOf(channel)).parts;
  }

  async participationsOf(app: string, userId: string): Promise<readonly Participation[]> {
    return (await this.recordOfUser(app, userId)).parts;
  }

  async recordOf(channel: Channel): Promise<DirectoryRecord> {
    const read = await this.#read(placeOf(channel));
    return recordFrom(read, (userId) => ({ channel, userId }));
  }

  async recordOfUser(app: string, userId: string): Promise<DirectoryRecord> {
    const read = await this.#read(placeOfUser(app, userId));
    const found = [...read.found].sort((left, right) => left.stamp - right.stamp);
    return recordFrom({ ...read, found }, (name) => {
      const colon = name.indexOf(":");
      return { channel: channelOf(app, name.slice(0, colon), name.slice(colon + 1)), userId };
    });
  }

  async versions(channels: readonly Channel[]): Promise<readonly number[]> {
    return this.#connection.run(
      (client) =>
        Promise.all(
          channels.map(async (channel) => {
            const place = channel.kind === "user" ? placeOfUser(channel.app, channel.id) : placeOf(channel);
            return integerOf(await client.getBuffer(place.version));
          }),
        ),
      "read-members-versions",
    );
  }

  async #read({ partition, parts, version }: Place, ...onlyField: string[]): Promise<Read> {
    const reply = listOf(
      await this.#connection.script(READ, {
        partition,
        keys: [parts, version, sentinelKey(partition)],
        args: onlyField,
      }),
    );
    const found: Found[] = [];
    for (const [field, value] of pairsOf(reply[3]))
      found.push({ field: field.toString(), ...readValue(value) });
    return { found, isComplete: this.#isComplete(partition, reply), version: integerOf(reply[2]) };
  }

  async #write(
    channel: Channel,
    userId: string,
    { relation, expiresAtMs }: { readonly relation: string; readonly expiresAtMs: number },
  ): Promise<void> {
    const expiry = Math.max(0, Math.min(Math.floor(expiresAtMs), Number.MAX_SAFE_INTEGER));
    const write = async (place: Place, field: string, stamp: Buffer | ""): Promise<Buffer> => {
      const { partition, parts, version } = place;
      const reply = listOf(
        await this.#connection.script(WRITE, {
          partition,
          keys: [parts, version, sentinelKey(partition)],
          args: [field, relation, expiry, stamp, this.#sentinels.rebuildWindowMs],
        }),
      );
      this.#isComplete(partition, reply);
      return bytesOf(reply[2]);
    };
    const stamp = await write(placeOf(channel), userId, "");
    await write(placeOfUser(channel.app, userId), channel.name, stamp);
  }

  /** A loss is noticed here too, between two sweeps: both scripts answer the sentinel and the time first. */
  #isComplete(partition: Partition, [sentinel, nowMs]: readonly unknown[]): boolean {
    return this.#sentinels.isComplete(partition, optionalBytesOf(sentinel), integerOf(nowMs));
  }
}

function placeOf(channel: Channel): Place {
  const { partition, participants, participantsVersion } = channelKeys(channel);
  return { partition, parts: participants, version: participantsVersion };
}

function placeOfUser(app: string, userId: string): Place {
  const { partition, participations, participationsVersion } = userKeys(app, userId);
  return { partition, parts: participations, version: participationsVersion };
}

function recordFrom(
  { found, isComplete, version }: Read,
  whose: (field: string) => Pick<Participation, "channel" | "userId">,
): DirectoryRecord {
  const parts: Participation[] = [];
  const ended = new Set<string>();
  for (const { field, relation, expiresAtMs } of found) {
    if (relation === undefined) ended.add(field);
    else parts.push({ ...whose(field), relation, expiresAtMs });
  }
  return { parts, ended, isComplete, version };
}

/** `relation:expiry:stamp`. */
function readValue(value: Buffer): Omit<Found, "field"> {
  const [relation = "", expiresAtMs, stampText] = value.toString("latin1").split(":");
  const stamp = Number(stampText);
  if (relation === ENDED) return { relation: undefined, expiresAtMs: Number(expiresAtMs), stamp };
  if (!isRelation(relation)) throw new TypeError("the directory holds a relation that is not known");
  return { relation, expiresAtMs: Number(expiresAtMs), stamp };
}

function isRelation(text: string): text is Relation {
  return RELATIONS.has(text);
}
