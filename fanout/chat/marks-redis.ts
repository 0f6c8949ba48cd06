/**
 * Marks in Redis: in the hash in the channel's partition in which the publish script counts its messages, so that
 * both live and are lost together. A write is one script, a look one command for each channel.
 */
import type { Channel } from "#fanout/channel/channel.js";
import { kindOptions } from "#fanout/channel/channel-limits.js";
import { channelKeys } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf, optionalBytesOf } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import { MAX_SINGLES, readMark, type Mark, type Raise } from "./mark.js";
import {
  MAX_MARKED_USERS,
  noSuchMessage,
  tooManyMarks,
  type ChatMarks,
  type MarkKind,
  type MarksRaised,
  type SaidMessage,
  type Standing,
} from "./marks.js";
import { standingOf } from "./standing.js";

const RAISE = loadScript(import.meta.url, "./lua/raise-marks.lua");

interface MarkWrite {
  /** Empty: nobody's marks. */
  readonly userId: string;
  readonly number: number;
  readonly upTo: boolean;
  readonly isRead: boolean;
  readonly users: readonly string[] | undefined;
  readonly wanted: readonly string[];
}

interface MarkAnswer {
  readonly outcome: string;
  readonly markedUsers: number;
  /** In the order of `wanted`. */
  readonly standings: readonly { readonly standing: Standing; readonly marks: Record<MarkKind, Mark> }[];
}

export class RedisChatMarks implements ChatMarks {
  readonly #connection: RedisConnection;

  constructor(options: { readonly connection: RedisConnection }) {
    this.#connection = options.connection;
  }

  async said(channel: Channel, { number, senderId, users }: SaidMessage): Promise<readonly Standing[]> {
    const raise = { userId: senderId, number, upTo: false, isRead: true };
    const { standings } = await this.#write(channel, { ...raise, users, wanted: users ?? [] });
    return standings.map(({ standing }) => standing);
  }

  async raise(
    channel: Channel,
    { userId, kind, number, upTo }: Raise & { readonly userId: string; readonly kind: MarkKind },
  ): Promise<MarksRaised> {
    const isRead = kind === "read";
    const write = { userId, number, upTo, isRead, users: undefined, wanted: [userId] };
    const { outcome, markedUsers, standings } = await this.#write(channel, write);
    if (outcome === "unknown") throw noSuchMessage();
    if (outcome === "full") throw tooManyMarks();
    const [own] = standings;
    if (own === undefined) throw new TypeError("raise-marks.lua answered without the user's standing");
    return { standing: own.standing, mark: own.marks[kind], markedUsers };
  }

  async standings(channels: readonly Channel[], userId: string): Promise<readonly Standing[]> {
    return this.#connection.run(
      (client) =>
        Promise.all(
          channels.map(async (channel) => {
            const fields = ["count", "pair", `delivered:${userId}`, `read:${userId}`];
            const [count, pair, delivered, read] = await client.hmgetBuffer(
              channelKeys(channel).chat,
              ...fields,
            );
            return standingOf({
              channel,
              userId,
              count: integerOf(count),
              users: readPair(pair),
              delivered: markFrom(delivered),
              read: markFrom(read),
            });
          }),
        ),
      "read-marks",
    );
  }

  async #write(channel: Channel, write: MarkWrite): Promise<MarkAnswer> {
    const { userId, number, upTo, isRead, users, wanted } = write;
    const { partition, chat } = channelKeys(channel);
    const reply = listOf(
      await this.#connection.script(RAISE, {
        partition,
        keys: [chat],
        args: [
          kindOptions(channel).participationTtlMs,
          users === undefined ? "" : JSON.stringify(users),
          userId,
          number,
          upTo ? "1" : "0",
          isRead ? "1" : "0",
          MAX_SINGLES,
          MAX_MARKED_USERS,
          ...wanted,
        ],
      }),
    );
    const [outcome, count, pair, markedUsers, ...marks] = reply;
    const facts = { channel, count: integerOf(count), users: readPair(pair) };
    return {
      outcome: bytesOf(outcome).toString(),
      markedUsers: integerOf(markedUsers),
      standings: wanted.map((wantedId, index) => {
        const [delivered, read] = [markFrom(marks[index * 2]), markFrom(marks[index * 2 + 1])];
        const standing = standingOf({ ...facts, userId: wantedId, delivered, read });
        return { standing, marks: { delivered, read } };
      }),
    };
  }
}

function markFrom(stored: unknown): Mark {
  return readMark(optionalBytesOf(stored)?.toString("latin1") ?? "");
}

function readPair(stored: unknown): readonly string[] {
  const text = optionalBytesOf(stored)?.toString();
  const pair: unknown = text === undefined ? [] : JSON.parse(text);
  if (Array.isArray(pair) && pair.every((user) => typeof user === "string")) return pair;
  throw new TypeError("a conversation's users are not what they should be");
}
