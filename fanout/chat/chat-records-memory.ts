/**
 * What this process remembers of the chat of each channel: the count of messages, which the broker raises, and
 * marks, which `marks-memory.ts` raises. What nobody has touched for as long as a part lasts is forgotten, by a
 * sweep that counting starts once a minute.
 */
import type { Channel } from "#fanout/channel/channel.js";
import { kindOptions } from "#fanout/channel/channel-limits.js";
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import type { Mark } from "./mark.js";

export interface ChatRecord {
  count: number;
  users: readonly string[];
  /** By user. */
  readonly delivered: Map<string, Mark>;
  readonly read: Map<string, Mark>;
  expiresAtMs: number;
}

const SWEEP_INTERVAL_MS = 60_000;

export class MemoryChatRecords {
  readonly #clock: StoreClock;
  readonly #records = new Map<string, ChatRecord>();
  #sweptAtMs = 0;

  constructor(clock: StoreClock = new SystemClock()) {
    this.#clock = clock;
  }

  /** Of how many channels something is remembered. */
  get size(): number {
    return this.#records.size;
  }

  /** The number of one more message. */
  countOne(channel: Channel): number {
    this.#sweepWhenDue();
    const record = this.touch(channel);
    record.count += 1;
    return record.count;
  }

  find(channel: Channel): ChatRecord | undefined {
    const record = this.#records.get(channel.key);
    return record && record.expiresAtMs > this.#nowMs() ? record : undefined;
  }

  /** Found or made, and kept for its time from now on. */
  touch(channel: Channel): ChatRecord {
    const record = this.find(channel) ?? {
      count: 0,
      users: [],
      delivered: new Map<string, Mark>(),
      read: new Map<string, Mark>(),
      expiresAtMs: 0,
    };
    record.expiresAtMs = this.#nowMs() + kindOptions(channel).participationTtlMs;
    this.#records.set(channel.key, record);
    return record;
  }

  #nowMs(): number {
    return Math.floor(this.#clock.nowUs() / 1000);
  }

  #sweepWhenDue(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptAtMs < SWEEP_INTERVAL_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [key, { expiresAtMs }] of this.#records) if (expiresAtMs <= nowMs) this.#records.delete(key);
  }
}
