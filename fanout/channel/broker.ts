/**
 * The broker port: channels with a bounded history, and the way of their events to every fanout that
 * follows them. What it carries is opaque to it: encoded `realtime.client.v1.Event`s without position.
 *
 * Implementations: `broker-memory.ts` (one process), `broker-redis.ts`. One contract suite holds for
 * both: `broker.contract.ts`. Every method fails with GatewayError `unavailable` while the store is away.
 */
import type { Channel } from "./channel.js";
import type { NumberedMessage } from "./numbered-message.js";

/** Where a durable event stands. `offset` grows by 1 within an epoch; 0 is "before the first", its epoch "". */
export interface StreamPosition {
  readonly epoch: string;
  readonly offset: number;
  /** `eventTag` of the event's id; 0 where the offset is 0. */
  readonly tag: number;
}

/** How an epoch ends that follows a fork: events from before it are lost, also for who had none. */
export const ROTATED = "~";

export function isRotated(epoch: string): boolean {
  return epoch.endsWith(ROTATED);
}

/** A channel has no epoch before its first event. */
export function isBeforeHistory(position: StreamPosition): boolean {
  return position.epoch === "" && position.offset === 0;
}

/** A durable event to store. */
export interface DurableEvent {
  readonly eventId: string;
  readonly payload: Uint8Array;
  /** A second publish with the same key (within the history's lifetime) has no effect and gets the first answer. */
  readonly idempotencyKey: string;
  /** Another key that means the same: a second publish with either of them is a repeat. */
  readonly secondKey?: string;
  /** Not stored (`conflict`) where an event was published under this key: what is deleted is not edited any more. */
  readonly unlessKey?: string;
  /** A message: `payload` is the event without its body then, and is completed with the next number of the channel. */
  readonly message?: NumberedMessage;
  /** Where state is versioned: what it is the state of ("order_status"), and its version, 1 or more. */
  readonly version?: { readonly subject: string; readonly number: number };
  /** Where it was read from: below or at the stored mark of `source`, it is a repeat. */
  readonly sourceMark?: { readonly source: string; readonly offset: number; readonly index: number };
  /** Written in the same step, to be relayed to Kafka later. */
  readonly outbox?: { readonly topic: string; readonly key: string };
}

/** A value that replaces the one before it under the same key. */
export interface LatestValue {
  /** What it is the value of, as in "location:p1". */
  readonly key: string;
  /** Only a greater version replaces. */
  readonly version: number;
  readonly payload: Uint8Array;
}

/** By what a repeat is known. */
export type EventKeys = Pick<DurableEvent, "idempotencyKey" | "secondKey" | "sourceMark">;

export type PublishAnswer =
  | {
      readonly outcome: "published" | "repeated";
      readonly position: StreamPosition;
      readonly timeMs: number;
      /** Of a message; absent where it was known by its source's mark alone. */
      readonly number?: number;
    }
  | { readonly outcome: "stale" };

/** What a follower hears. Durable ones in order, but with gaps where the way lost some: `read` fills them. */
export type BrokerMessage =
  | {
      readonly type: "durable";
      readonly position: StreamPosition;
      /** Of the event before it in its epoch, 0 where there is none: another one than was heard is a fork. */
      readonly previousTag?: number;
      readonly payload: Uint8Array;
    }
  | { readonly type: "latest"; readonly value: LatestValue }
  | { readonly type: "ephemeral"; readonly payload: Uint8Array; readonly origin: string }
  | { readonly type: "signal"; readonly signal: Uint8Array }
  /** The way was interrupted and is back: positions must be compared. */
  | { readonly type: "resubscribed" };

export interface ChannelState {
  /** The last durable event; offset 0 where there is none. */
  readonly position: StreamPosition;
  /** Every latest value that still lives. */
  readonly latest: readonly LatestValue[];
}

export interface HistoryEvent {
  readonly position: StreamPosition;
  readonly payload: Uint8Array;
}

export interface HistoryBounds {
  readonly limit: number;
  /** Nothing is read behind the event with which the payloads are more than this. Absent: no such bound. */
  readonly maxBytes?: number;
}

export type HistoryRange =
  /** Oldest first; exclusive. */
  | (HistoryBounds & { readonly afterOffset: number })
  /** Newest first; exclusive. Infinity: from the newest on. */
  | (HistoryBounds & { readonly beforeOffset: number });

export interface Broker {
  /**
   * Stores a durable event and sends it to all followers. Resolves once it is stored. One atomic step.
   * @throws GatewayError conflict by `unlessKey`; unavailable, also where too much waits for Kafka.
   */
  publish(channel: Channel, event: DurableEvent): Promise<PublishAnswer>;
  /** Whether publishing this would be a repeat. */
  isRepeat(channel: Channel, event: EventKeys): Promise<boolean>;
  /**
   * Keeps the value where its version is greater than the stored one, and sends it to followers.
   * Not a promise of storage: resolves when the store answered, fails where it did not.
   */
  update(channel: Channel, value: LatestValue): Promise<void>;
  /**
   * Sends without storing, best effort. A payload (typing) is heard by all followers but the broker that sent it
   * (its own followers have it already); `origin` is the connection it came from. A signal is heard by all.
   */
  tell(
    channel: Channel,
    message: { readonly payload: Uint8Array; readonly origin: string } | { readonly signal: Uint8Array },
  ): Promise<void>;
  /**
   * Hears the channel. Resolves when the subscription is active, so that a `state` read after it misses nothing.
   * One follower for each channel and broker: following twice is a fault of the caller.
   */
  follow(channel: Channel, listener: (message: BrokerMessage) => void): Promise<void>;
  /** Hears it no more. Never fails. */
  unfollow(channel: Channel): Promise<void>;
  /** The position and the latest values, read together. */
  state(channel: Channel): Promise<ChannelState>;
  /**
   * The positions of many channels, read together, in their order: to notice what pub/sub lost. Undefined where the
   * part of the store that has the channel is away; fails where all of them are.
   */
  positions(channels: readonly Channel[]): Promise<readonly (StreamPosition | undefined)[]>;
  /**
   * Begins a new epoch at offset 0, with an empty history, where the stored position is still `forked`: followers
   * were given other events than those that are stored. The epoch ends with `ROTATED`. Versions, marks and answers
   * stay. Answers the position that is stored then, whoever made it.
   */
  rotate(channel: Channel, forked: StreamPosition): Promise<StreamPosition>;
  /**
   * Stored events in the order asked for; fewer than the limit at the end, or where they are more than `maxBytes`.
   * What is older than the history is missing.
   */
  history(channel: Channel, range: HistoryRange): Promise<readonly HistoryEvent[]>;
  close(): Promise<void>;
}
