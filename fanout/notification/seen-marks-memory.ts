/** Seen marks in this process: the embedded default. */
import type { Channel } from "#fanout/channel/channel.js";
import { NO_MARK, raise as raiseMark } from "#fanout/chat/mark.js";
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import {
  MAX_SEEN_CHANNELS,
  SEEN_TTL_MS,
  type SeenMark,
  type SeenMarks,
  type SeenOwner,
  type SeenRaise,
} from "./seen-marks.js";

interface UserRecord {
  readonly marks: Map<string, SeenMark>;
  version: number;
  markedAtMs: number;
}

export class MemorySeenMarks implements SeenMarks {
  readonly #clock: Pick<StoreClock, "nowUs">;
  /** By user, in the order of their last marks. */
  readonly #users = new Map<string, UserRecord>();

  constructor(options: { readonly clock?: Pick<StoreClock, "nowUs"> } = {}) {
    this.#clock = options.clock ?? new SystemClock();
  }

  /** Users of whom something is kept. */
  get size(): number {
    return this.#users.size;
  }

  async raise(
    owner: SeenOwner,
    channel: Channel,
    { epoch, offset, upTo }: SeenRaise,
  ): Promise<{ readonly seen: SeenMark; readonly version: number }> {
    const nowUs = this.#clock.nowUs();
    this.#forget(nowUs / 1000);
    const key = keyOf(owner);
    const record = this.#users.get(key) ?? { marks: new Map<string, SeenMark>(), version: 0, markedAtMs: 0 };
    const known = record.marks.get(channel.name);
    const mark = raiseMark(known?.epoch === epoch ? known.mark : NO_MARK, { number: offset, upTo });
    const seen = { epoch, mark };
    record.marks.delete(channel.name);
    record.marks.set(channel.name, seen);
    const [oldest] = record.marks.keys();
    if (record.marks.size > MAX_SEEN_CHANNELS && oldest !== undefined) record.marks.delete(oldest);
    record.version = Math.max(record.version + 1, nowUs);
    record.markedAtMs = nowUs / 1000;
    this.#users.delete(key);
    this.#users.set(key, record);
    return { seen, version: record.version };
  }

  async marks(owner: SeenOwner, channels: readonly Channel[]): Promise<readonly (SeenMark | undefined)[]> {
    this.#forget(this.#clock.nowUs() / 1000);
    const record = this.#users.get(keyOf(owner));
    return channels.map(({ name }) => record?.marks.get(name));
  }

  #forget(nowMs: number): void {
    for (const [key, { markedAtMs }] of this.#users) {
      if (nowMs - markedAtMs < SEEN_TTL_MS) return;
      this.#users.delete(key);
    }
  }
}

function keyOf({ app, userId }: SeenOwner): string {
  return `${app}/${userId}`;
}
