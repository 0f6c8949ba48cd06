/**
 * The broker in this process: for the embedded default and for unit tests. Several brokers on one
 * MemoryChannels hear each other, as fanouts on one Redis do. Time comes from a clock that is passed in;
 * what has outlived its kind's lifetimes is forgotten when it is next touched, or by the sweep that
 * publishing starts once a minute.
 */
import { randomBytes } from "node:crypto";
import { eventTag } from "#proto/event-tag.js";
import { MemoryChatRecords } from "#fanout/chat/chat-records-memory.js";
import { MemoryOutboxEntries } from "#fanout/outbox/outbox-memory.js";
import { channelKeys } from "#fanout/redis/keys.js";
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import {
  ROTATED,
  type Broker,
  type BrokerMessage,
  type ChannelState,
  type DurableEvent,
  type EventKeys,
  type HistoryEvent,
  type HistoryRange,
  type LatestValue,
  type PublishAnswer,
  type StreamPosition,
} from "./broker.js";
import type { Channel } from "./channel.js";
import type { ChannelKind } from "./channel-kinds.js";
import {
  DEFAULT_OUTBOX_BOUND,
  excluded,
  kindOptions,
  MAX_LATEST_VALUES,
  MAX_VERSIONED_SUBJECTS,
  outboxFull,
} from "./channel-limits.js";
import { completeMessage } from "./numbered-message.js";

type Listener = (message: BrokerMessage) => void;
type Answer = Exclude<PublishAnswer, { outcome: "stale" }>;

/** Answers by the keys of what was published, oldest first; as many as events. */
class RecentAnswers {
  readonly #byKey = new Map<string, Answer>();
  readonly #keys: (readonly string[])[] = [];

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  of({ idempotencyKey, secondKey }: EventKeys): Answer | undefined {
    const answer = this.#byKey.get(idempotencyKey);
    return answer ?? (secondKey === undefined ? undefined : this.#byKey.get(secondKey));
  }

  add({ idempotencyKey, secondKey }: DurableEvent, answer: Answer, limit: number): void {
    const keys = secondKey === undefined ? [idempotencyKey] : [idempotencyKey, secondKey];
    this.#keys.push(keys);
    for (const key of keys) this.#byKey.set(key, answer);
    if (this.#keys.length > limit) for (const key of this.#keys.shift() ?? []) this.#byKey.delete(key);
  }
}

interface DurablePart {
  epoch: string;
  last: Answer;
  history: HistoryEvent[];
  readonly answers: RecentAnswers;
  readonly versions: Map<string, number>;
  readonly marks: Map<string, { readonly offset: number; readonly index: number }>;
  expiresAtMs: number;
}

interface ChannelRecord {
  durable: DurablePart | undefined;
  readonly latest: Map<string, { readonly value: LatestValue; readonly expiresAtMs: number }>;
}

const BEFORE_THE_FIRST: StreamPosition = { epoch: "", offset: 0, tag: 0 };
const SWEEP_INTERVAL_MS = 60_000;

/** The channels that brokers of one process share. */
export class MemoryChannels {
  readonly clock: StoreClock;
  /** Filled in the step that stores an event. */
  readonly outbox: MemoryOutboxEntries;
  /** Counts messages in the step that stores them. */
  readonly chat: MemoryChatRecords;
  readonly #records = new Map<string, ChannelRecord>();
  readonly #followers = new Map<string, Map<MemoryBroker, Listener>>();
  #sweptAtMs = 0;

  constructor(clock: StoreClock = new SystemClock()) {
    this.clock = clock;
    this.outbox = new MemoryOutboxEntries(clock);
    this.chat = new MemoryChatRecords(clock);
  }

  /** How many channels are remembered. */
  get size(): number {
    return this.#records.size;
  }

  nowMs(): number {
    return Math.floor(this.clock.nowUs() / 1000);
  }

  /** The channel's record without what has expired; undefined where nothing is left. */
  find(channel: Channel, nowMs: number): ChannelRecord | undefined {
    const record = this.#records.get(channel.key);
    if (!record) return undefined;
    if (record.durable && record.durable.expiresAtMs <= nowMs) record.durable = undefined;
    for (const [key, { expiresAtMs }] of record.latest) {
      if (expiresAtMs <= nowMs) record.latest.delete(key);
    }
    if (record.durable || record.latest.size > 0) return record;
    this.#records.delete(channel.key);
    return undefined;
  }

  findOrMake(channel: Channel, nowMs: number): ChannelRecord {
    this.#sweepWhenDue(nowMs);
    const found = this.find(channel, nowMs);
    if (found) return found;
    const made: ChannelRecord = { durable: undefined, latest: new Map() };
    this.#records.set(channel.key, made);
    return made;
  }

  /** Forgets every channel of which nothing lives any more. */
  sweep(nowMs: number): void {
    this.#sweptAtMs = nowMs;
    for (const [key, { durable, latest }] of this.#records) {
      const latestLives = [...latest.values()].some(({ expiresAtMs }) => expiresAtMs > nowMs);
      if (!latestLives && (!durable || durable.expiresAtMs <= nowMs)) this.#records.delete(key);
    }
  }

  addFollower(channel: Channel, broker: MemoryBroker, listener: Listener): void {
    const followers = this.#followers.get(channel.key) ?? new Map<MemoryBroker, Listener>();
    if (followers.has(broker)) throw new Error("a channel is followed twice by one broker");
    followers.set(broker, listener);
    this.#followers.set(channel.key, followers);
  }

  removeFollower(channelKey: string, broker: MemoryBroker): void {
    const followers = this.#followers.get(channelKey);
    followers?.delete(broker);
    if (followers?.size === 0) this.#followers.delete(channelKey);
  }

  /** In a later microtask, as from a store: a publisher's own code never runs inside its listener's. */
  deliver(channel: Channel, message: BrokerMessage, except?: MemoryBroker): void {
    for (const [broker, listener] of this.#followers.get(channel.key) ?? []) {
      if (broker === except) continue;
      queueMicrotask(() => {
        if (this.#followers.get(channel.key)?.get(broker) !== listener) return;
        broker.hear(listener, message);
      });
    }
  }

  #sweepWhenDue(nowMs: number): void {
    if (nowMs - this.#sweptAtMs >= SWEEP_INTERVAL_MS) this.sweep(nowMs);
  }
}

export interface MemoryBrokerOptions {
  /** Default: channels of its own. */
  readonly channels?: MemoryChannels;
  /** Entries in one partition's outbox above which events that need it are refused. Default: DEFAULT_OUTBOX_BOUND. */
  readonly outboxBound?: number;
  /** Default: `CHANNEL_KINDS`. */
  readonly kinds?: ReadonlyMap<string, ChannelKind>;
  /** Told of listeners that threw. */
  readonly onFault?: (what: string, error: unknown) => void;
}

export class MemoryBroker implements Broker {
  readonly #channels: MemoryChannels;
  readonly #outboxBound: number;
  readonly #kinds: ReadonlyMap<string, ChannelKind> | undefined;
  readonly #onFault: (what: string, error: unknown) => void;
  readonly #followed = new Set<string>();

  constructor(options: MemoryBrokerOptions = {}) {
    this.#channels = options.channels ?? new MemoryChannels();
    this.#kinds = options.kinds;
    this.#outboxBound = options.outboxBound ?? DEFAULT_OUTBOX_BOUND;
    this.#onFault = options.onFault ?? (() => undefined);
  }

  async publish(channel: Channel, event: DurableEvent): Promise<PublishAnswer> {
    const kind = kindOptions(channel, this.#kinds);
    const nowMs = this.#channels.nowMs();
    const record = this.#channels.findOrMake(channel, nowMs);
    const { version, sourceMark } = event;
    const durable = record.durable;
    if (durable) {
      const answered = durable.answers.of(event);
      if (answered) return { ...answered, outcome: "repeated" };
      if (event.unlessKey !== undefined && durable.answers.has(event.unlessKey)) throw excluded();
      if (version && version.number <= (durable.versions.get(version.subject) ?? -Infinity)) {
        return { outcome: "stale" };
      }
      if (isPassed(durable, event)) {
        const { position, timeMs } = durable.last;
        return { outcome: "repeated", position, timeMs };
      }
    }
    const { outbox } = this.#channels;
    const partition = event.outbox && channelKeys(channel).partition.index;
    if (partition !== undefined && outbox.count(partition) >= this.#outboxBound) throw outboxFull();

    const epoch = durable?.epoch ?? newEpoch();
    const previous = durable?.last.position ?? BEFORE_THE_FIRST;
    const offset = previous.offset + 1;
    const position = { epoch, offset, tag: eventTag(event.eventId) };
    const { message } = event;
    const number = message && this.#channels.chat.countOne(channel);
    const payload =
      message === undefined || number === undefined
        ? event.payload
        : completeMessage(event.payload, message, { epoch, offset, number });
    const answer: Answer = {
      outcome: "published",
      position,
      timeMs: nowMs,
      ...(number !== undefined && { number }),
    };
    const part = durable ?? {
      epoch,
      last: answer,
      history: [],
      answers: new RecentAnswers(),
      versions: new Map<string, number>(),
      marks: new Map<string, { offset: number; index: number }>(),
      expiresAtMs: 0,
    };
    record.durable = part;
    part.last = answer;
    part.expiresAtMs = nowMs + kind.historyTtlMs;
    part.history.push({ position, payload });
    if (part.history.length > kind.historySize) part.history.shift();
    part.answers.add(event, answer, kind.historySize);
    if (version) {
      part.versions.delete(version.subject);
      if (part.versions.size >= MAX_VERSIONED_SUBJECTS) deleteFirst(part.versions);
      part.versions.set(version.subject, version.number);
    }
    if (sourceMark) part.marks.set(sourceMark.source, sourceMark);
    if (event.outbox && partition !== undefined) {
      const { eventId } = event;
      const stored = { eventId, payload, channel: channel.key, epoch, offset, timeMs: nowMs };
      outbox.add(partition, { ...event.outbox, ...stored });
    }
    this.#channels.deliver(channel, { type: "durable", position, previousTag: previous.tag, payload });
    return answer;
  }

  async isRepeat(channel: Channel, event: EventKeys): Promise<boolean> {
    const durable = this.#channels.find(channel, this.#channels.nowMs())?.durable;
    return durable !== undefined && (durable.answers.of(event) !== undefined || isPassed(durable, event));
  }

  async update(channel: Channel, value: LatestValue): Promise<void> {
    const kind = kindOptions(channel, this.#kinds);
    const nowMs = this.#channels.nowMs();
    const { latest } = this.#channels.findOrMake(channel, nowMs);
    const stored = latest.get(value.key);
    if (stored && value.version <= stored.value.version) return;
    latest.delete(value.key);
    if (latest.size >= MAX_LATEST_VALUES) deleteFirst(latest);
    latest.set(value.key, { value, expiresAtMs: nowMs + kind.latestTtlMs });
    this.#channels.deliver(channel, { type: "latest", value });
  }

  async tell(
    channel: Channel,
    message: { readonly payload: Uint8Array; readonly origin: string } | { readonly signal: Uint8Array },
  ): Promise<void> {
    if ("signal" in message) this.#channels.deliver(channel, { type: "signal", signal: message.signal });
    else this.#channels.deliver(channel, { type: "ephemeral", ...message }, this);
  }

  async follow(channel: Channel, listener: Listener): Promise<void> {
    this.#channels.addFollower(channel, this, listener);
    this.#followed.add(channel.key);
  }

  async unfollow(channel: Channel): Promise<void> {
    this.#channels.removeFollower(channel.key, this);
    this.#followed.delete(channel.key);
  }

  async state(channel: Channel): Promise<ChannelState> {
    const record = this.#channels.find(channel, this.#channels.nowMs());
    return {
      position: record?.durable?.last.position ?? BEFORE_THE_FIRST,
      latest: [...(record?.latest.values() ?? [])].map(({ value }) => value),
    };
  }

  async positions(channels: readonly Channel[]): Promise<readonly StreamPosition[]> {
    const nowMs = this.#channels.nowMs();
    return channels.map((channel) => {
      return this.#channels.find(channel, nowMs)?.durable?.last.position ?? BEFORE_THE_FIRST;
    });
  }

  async rotate(channel: Channel, forked: StreamPosition): Promise<StreamPosition> {
    const durable = this.#channels.find(channel, this.#channels.nowMs())?.durable;
    if (durable === undefined) return BEFORE_THE_FIRST;
    const { position: stored } = durable.last;
    if (stored.epoch !== forked.epoch || stored.offset !== forked.offset || stored.tag !== forked.tag) {
      return stored;
    }
    durable.epoch = newEpoch() + ROTATED;
    durable.history = [];
    durable.last = { ...durable.last, position: { epoch: durable.epoch, offset: 0, tag: 0 } };
    return durable.last.position;
  }

  async history(channel: Channel, range: HistoryRange): Promise<readonly HistoryEvent[]> {
    const history = this.#channels.find(channel, this.#channels.nowMs())?.durable?.history ?? [];
    const first = history[0]?.position.offset ?? 1;
    const limit = Math.max(0, range.limit);
    if ("afterOffset" in range) {
      const start = Math.max(0, range.afterOffset + 1 - first);
      return within(history.slice(start, start + limit), range.maxBytes);
    }
    const end = Math.min(history.length, Math.max(0, range.beforeOffset - first));
    return within(history.slice(Math.max(0, end - limit), end).reverse(), range.maxBytes);
  }

  async close(): Promise<void> {
    for (const key of this.#followed) this.#channels.removeFollower(key, this);
    this.#followed.clear();
  }

  /** Called by the channels: a listener that throws harms nobody else. */
  hear(listener: Listener, message: BrokerMessage): void {
    try {
      listener(message);
    } catch (error) {
      this.#onFault("a listener of a channel threw", error);
    }
  }
}

/** Up to the one with which there are more bytes. */
function within(events: readonly HistoryEvent[], maxBytes = Infinity): readonly HistoryEvent[] {
  let bytes = 0;
  const last = events.findIndex(({ payload }) => (bytes += payload.length) > maxBytes);
  return last === -1 ? events : events.slice(0, last + 1);
}

function newEpoch(): string {
  return randomBytes(8).toString("hex");
}

function isPassed({ marks }: DurablePart, { sourceMark }: EventKeys): boolean {
  const mark = sourceMark && marks.get(sourceMark.source);
  return sourceMark !== undefined && mark !== undefined && !isAfter(sourceMark, mark);
}

function isAfter(
  mark: { readonly offset: number; readonly index: number },
  stored: { readonly offset: number; readonly index: number },
): boolean {
  return mark.offset > stored.offset || (mark.offset === stored.offset && mark.index > stored.index);
}

function deleteFirst(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
