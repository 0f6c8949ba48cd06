/** Marks in this process: the embedded default. The records are the broker's too, which counts the messages. */
import type { Channel } from "#fanout/channel/channel.js";
import { MemoryChatRecords, type ChatRecord } from "./chat-records-memory.js";
import { NO_MARK, raise, type Mark, type Raise } from "./mark.js";
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

export class MemoryChatMarks implements ChatMarks {
  readonly #records: MemoryChatRecords;

  constructor(records: MemoryChatRecords = new MemoryChatRecords()) {
    this.#records = records;
  }

  async said(channel: Channel, { number, senderId, users }: SaidMessage): Promise<readonly Standing[]> {
    const record = this.#records.touch(channel);
    if (users !== undefined) record.users = users;
    if (senderId !== "" && number <= record.count && hasRoom(record, senderId)) {
      raiseBoth(record, senderId, { number, upTo: false });
    }
    return (users ?? []).map((userId) => standing(channel, userId, record));
  }

  async raise(
    channel: Channel,
    { userId, kind, number, upTo }: Raise & { readonly userId: string; readonly kind: MarkKind },
  ): Promise<MarksRaised> {
    if (number > (this.#records.find(channel)?.count ?? 0)) throw noSuchMessage();
    const record = this.#records.touch(channel);
    if (!hasRoom(record, userId)) throw tooManyMarks();
    if (kind === "read") raiseBoth(record, userId, { number, upTo });
    else raiseOne(record.delivered, userId, { number, upTo });
    return {
      standing: standing(channel, userId, record),
      mark: markOf(record[kind], userId),
      markedUsers: record.delivered.size,
    };
  }

  async standings(channels: readonly Channel[], userId: string): Promise<readonly Standing[]> {
    return channels.map((channel) => standing(channel, userId, this.#records.find(channel)));
  }
}

function standing(channel: Channel, userId: string, record: ChatRecord | undefined): Standing {
  return standingOf({
    channel,
    userId,
    count: record?.count ?? 0,
    delivered: markOf(record?.delivered, userId),
    read: markOf(record?.read, userId),
    users: record?.users ?? [],
  });
}

/** What is read or one's own is delivered, so each user with a mark has one of these. */
function hasRoom({ delivered }: ChatRecord, userId: string): boolean {
  return delivered.has(userId) || delivered.size < MAX_MARKED_USERS;
}

function raiseBoth({ delivered, read }: ChatRecord, userId: string, to: Raise): void {
  raiseOne(delivered, userId, to);
  raiseOne(read, userId, to);
}

function raiseOne(marks: Map<string, Mark>, userId: string, to: Raise): void {
  marks.set(userId, raise(markOf(marks, userId), to));
}

function markOf(marks: ReadonlyMap<string, Mark> | undefined, userId: string): Mark {
  return marks?.get(userId) ?? NO_MARK;
}
