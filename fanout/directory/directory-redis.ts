/**
 * The directory in Redis. The channel's record in the channel's partition is the truth and is written
 * first; the user's index in the user's partition is written second, with the stamp of the first write, so
 * that of two writes that overtake each other the same one wins in both. A writer that dies between the
 * two leaves an index that lags: repeating the write, which is idempotent, mends it.
 */
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { channelKeys, userKeys } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, pairsOf } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import type { Directory, Participation, Relation } from "./directory.js";

const WRITE = loadScript(import.meta.url, "./lua/write-participation.lua");
const READ = loadScript(import.meta.url, "./lua/read-participations.lua");

const RELATIONS: ReadonlySet<string> = new Set<Relation>(["owner", "assigned", "member", "merchant"]);
const ENDED = "-";

export class RedisDirectory implements Directory {
  readonly #connection: RedisConnection;

  constructor(options: { readonly connection: RedisConnection }) {
    this.#connection = options.connection;
  }

  async grant({ channel, userId, relation, expiresAtMs }: Participation): Promise<void> {
    await this.#write(channel, userId, { relation, expiresAtMs });
  }

  async end(channel: Channel, userId: string): Promise<void> {
    await this.#write(channel, userId, { relation: ENDED, expiresAtMs: 0 });
  }

  async participation(channel: Channel, userId: string): Promise<Participation | undefined> {
    const found = await this.#participants(channel, [userId]);
    return found[0];
  }

  async participants(channel: Channel): Promise<readonly Participation[]> {
    return this.#participants(channel, []);
  }

  async participationsOf(app: string, userId: string): Promise<readonly Participation[]> {
    const { partition, participations } = userKeys(app, userId);
    const reply = await this.#connection.script(READ, { partition, keys: [participations], args: [] });
    const found: Participation[] = [];
    for (const [field, value] of pairsOf(reply)) {
      const name = field.toString();
      const colon = name.indexOf(":");
      const channel = channelOf(app, name.slice(0, colon), name.slice(colon + 1));
      found.push({ channel, userId, ...readValue(value) });
    }
    return found;
  }

  async #participants(channel: Channel, onlyUser: readonly string[]): Promise<Participation[]> {
    const { partition, participants } = channelKeys(channel);
    const reply = await this.#connection.script(READ, { partition, keys: [participants], args: onlyUser });
    const found: Participation[] = [];
    for (const [field, value] of pairsOf(reply)) {
      found.push({ channel, userId: field.toString(), ...readValue(value) });
    }
    return found;
  }

  async #write(
    channel: Channel,
    userId: string,
    { relation, expiresAtMs }: { readonly relation: string; readonly expiresAtMs: number },
  ): Promise<void> {
    const record = channelKeys(channel);
    const index = userKeys(channel.app, userId);
    const expiry = Math.max(0, Math.min(Math.floor(expiresAtMs), Number.MAX_SAFE_INTEGER));
    const stamp = await this.#connection.script(WRITE, {
      partition: record.partition,
      keys: [record.participants],
      args: [userId, relation, expiry, ""],
    });
    await this.#connection.script(WRITE, {
      partition: index.partition,
      keys: [index.participations],
      args: [channel.name, relation, expiry, bytesOf(stamp)],
    });
  }
}

/** `relation:expiry:stamp`. */
function readValue(value: Buffer): { relation: Relation; expiresAtMs: number } {
  const [relation = "", expiresAtMs] = value.toString("latin1").split(":");
  if (!isRelation(relation)) throw new TypeError("the directory holds a relation that is not known");
  return { relation, expiresAtMs: Number(expiresAtMs) };
}

function isRelation(text: string): text is Relation {
  return RELATIONS.has(text);
}
