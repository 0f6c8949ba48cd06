/** Seen marks in Redis: one hash for each user, in the user's partition. A write is one script, a look one command. */
import type { Channel } from "#fanout/channel/channel.js";
import { MAX_SINGLES, readMark } from "#fanout/chat/mark.js";
import { seenKey } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import {
  MAX_SEEN_CHANNELS,
  SEEN_TTL_MS,
  type SeenMark,
  type SeenMarks,
  type SeenOwner,
  type SeenRaise,
} from "./seen-marks.js";

const RAISE = loadScript(import.meta.url, "./lua/raise-seen.lua");
/** Fields of channels begin so; there is one other. */
const CHANNEL_FIELD = "channel:";

export class RedisSeenMarks implements SeenMarks {
  readonly #connection: RedisConnection;

  constructor(options: { readonly connection: RedisConnection }) {
    this.#connection = options.connection;
  }

  async raise(
    owner: SeenOwner,
    channel: Channel,
    { epoch, offset, upTo }: SeenRaise,
  ): Promise<{ readonly seen: SeenMark; readonly version: number }> {
    const { partition, key } = seenKey(owner.app, owner.userId);
    const field = `${CHANNEL_FIELD}${channel.name}`;
    const [version, stored] = listOf(
      await this.#connection.script(RAISE, {
        partition,
        keys: [key],
        args: [field, epoch, offset, upTo ? "1" : "0", SEEN_TTL_MS, MAX_SINGLES, MAX_SEEN_CHANNELS],
      }),
    );
    return { seen: readSeen(bytesOf(stored)), version: integerOf(version) };
  }

  async marks(owner: SeenOwner, channels: readonly Channel[]): Promise<readonly (SeenMark | undefined)[]> {
    if (channels.length === 0) return [];
    const { key } = seenKey(owner.app, owner.userId);
    const fields = channels.map(({ name }) => `${CHANNEL_FIELD}${name}`);
    const stored = await this.#connection.run((client) => client.hmgetBuffer(key, ...fields), "read-seen");
    return stored.map((value) => (value === null ? undefined : readSeen(value)));
  }
}

/** "1790000000000 epoch 12 14 17": when it was marked last, the epoch, up to 12, and 14 and 17. */
function readSeen(stored: Buffer): SeenMark {
  const [, epoch = "", ...numbers] = stored.toString().split(" ");
  return { epoch, mark: readMark(numbers.join(" ")) };
}
