/**
 * The broker in Redis. Publishing is one script; latest values go together (`latest-updates-redis.ts`); following is a sharded subscription
 * for each channel; state, positions and history take one round trip. Keys: `redis/keys.ts`; messages
 * between brokers: `envelope-redis.ts`. When to compare positions again is left to the follower.
 */
import { createHash, randomBytes } from "node:crypto";
import { eventTag } from "#proto/event-tag.js";
import { channelKeys } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf, optionalBytesOf, pairsOf, readUint64 } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
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
  MAX_VERSIONED_SUBJECTS,
  outboxFull,
} from "./channel-limits.js";
import { BROKER_ID_BYTES, decodeEnvelope, ephemeralEnvelope, signalEnvelope } from "./envelope-redis.js";
import { LatestUpdates } from "./latest-updates-redis.js";

const PUBLISH = loadScript(import.meta.url, "./lua/publish-durable.lua");
const READ_STATE = loadScript(import.meta.url, "./lua/read-state.lua");
const ROTATE = loadScript(import.meta.url, "./lua/rotate-epoch.lua");
const READ_HISTORY = loadScript(import.meta.url, "./lua/read-history.lua");

/** Version and expiry before the payload of a stored latest value. */
const LATEST_PREFIX_BYTES = 16;

export interface RedisBrokerOptions {
  readonly connection: RedisConnection;
  /** Entries in one partition's outbox above which events that need it are refused. Default: DEFAULT_OUTBOX_BOUND. */
  readonly outboxBound?: number;
  /** Default: `CHANNEL_KINDS`. */
  readonly kinds?: ReadonlyMap<string, ChannelKind>;
}

export class RedisBroker implements Broker {
  readonly #connection: RedisConnection;
  readonly #outboxBound: number;
  readonly #kinds: ReadonlyMap<string, ChannelKind> | undefined;
  readonly #brokerId = randomBytes(BROKER_ID_BYTES);
  /** With the store's time it makes epochs that no other broker makes. */
  readonly #epochSeed = this.#brokerId.toString("hex");
  readonly #followed = new Set<string>();
  readonly #latestUpdates: LatestUpdates;

  constructor(options: RedisBrokerOptions) {
    this.#connection = options.connection;
    this.#kinds = options.kinds;
    this.#latestUpdates = new LatestUpdates(options.connection, options.kinds);
    this.#outboxBound = options.outboxBound ?? DEFAULT_OUTBOX_BOUND;
  }

  async publish(channel: Channel, event: DurableEvent): Promise<PublishAnswer> {
    const keys = channelKeys(channel);
    const kind = kindOptions(channel, this.#kinds);
    const { version, sourceMark, outbox, message } = event;
    const reply = listOf(
      await this.#connection.script(PUBLISH, {
        partition: keys.partition,
        keys: [
          keys.meta,
          keys.history,
          keys.answers,
          keys.answerOrder,
          keys.pubsub,
          keys.outbox,
          keys.outboxNews,
          keys.chat,
        ],
        args: [
          digestOf(event.idempotencyKey),
          eventTag(event.eventId),
          bufferOf(event.payload),
          kind.historySize,
          kind.historyTtlMs,
          this.#epochSeed,
          version?.subject ?? "",
          version?.number ?? 0,
          sourceMark?.source ?? "",
          sourceMark?.offset ?? 0,
          sourceMark?.index ?? 0,
          outbox?.topic ?? "",
          outbox?.key ?? "",
          this.#outboxBound,
          event.eventId,
          channel.key,
          event.secondKey === undefined ? "" : digestOf(event.secondKey),
          event.unlessKey === undefined ? "" : digestOf(event.unlessKey),
          message === undefined ? "" : bufferOf(message.body),
          message?.idPrefix ?? "",
          kind.participationTtlMs,
          MAX_VERSIONED_SUBJECTS,
        ],
      }),
    );
    const outcome = bytesOf(reply[0]).toString();
    switch (outcome) {
      case "published":
      case "repeated":
        return { outcome, ...readAnswer(bytesOf(reply[1])) };
      case "stale":
        return { outcome };
      case "excluded":
        throw excluded();
      case "outbox_full":
        throw outboxFull();
      default:
        throw new Error("an unknown outcome of publish-durable.lua");
    }
  }

  async isRepeat(channel: Channel, { idempotencyKey, secondKey, sourceMark }: EventKeys): Promise<boolean> {
    const { meta, answers } = channelKeys(channel);
    const digests = [idempotencyKey, secondKey ?? idempotencyKey].map(digestOf);
    const [[epoch, mark], answered] = await this.#connection.run(
      (client) =>
        Promise.all([
          client.hmget(meta, "epoch", `mark:${sourceMark?.source ?? ""}`),
          client.hmget(answers, ...digests),
        ]),
      "is-repeat",
    );
    // Answers of an epoch whose record was lost are void, as for the publish script.
    if (typeof epoch !== "string") return false;
    if (answered.some((answer) => answer !== null)) return true;
    if (sourceMark === undefined || typeof mark !== "string") return false;
    const [offset = 0, index = 0] = mark.split(":").map(Number);
    return sourceMark.offset < offset || (sourceMark.offset === offset && sourceMark.index <= index);
  }

  update(channel: Channel, value: LatestValue): Promise<void> {
    return this.#latestUpdates.add(channel, value);
  }

  async tell(
    channel: Channel,
    message: { readonly payload: Uint8Array; readonly origin: string } | { readonly signal: Uint8Array },
  ): Promise<void> {
    const envelope =
      "signal" in message
        ? signalEnvelope(message.signal)
        : ephemeralEnvelope(this.#brokerId, message.origin, message.payload);
    await this.#connection.run(
      (client) => client.spublish(channelKeys(channel).pubsub, envelope),
      "spublish",
    );
  }

  async follow(channel: Channel, listener: (message: BrokerMessage) => void): Promise<void> {
    const { pubsub, partition } = channelKeys(channel);
    await this.#connection.subscriber.subscribe(pubsub, {
      partition,
      onMessage: (bytes) => {
        const decoded = decodeEnvelope(bytes);
        if (!decoded || decoded.brokerId?.equals(this.#brokerId)) return;
        listener(decoded.message);
      },
      onResubscribed: () => listener({ type: "resubscribed" }),
    });
    this.#followed.add(pubsub);
  }

  async unfollow(channel: Channel): Promise<void> {
    const { pubsub } = channelKeys(channel);
    this.#followed.delete(pubsub);
    this.#connection.subscriber.unsubscribe(pubsub);
  }

  async state(channel: Channel): Promise<ChannelState> {
    const { partition, meta, latest } = channelKeys(channel);
    const reply = listOf(
      await this.#connection.script(READ_STATE, { partition, keys: [meta, latest], args: [] }),
    );
    const nowMs = integerOf(reply[3]);
    const values: LatestValue[] = [];
    for (const [key, stored] of pairsOf(reply[4])) {
      if (readUint64(stored, 8) <= nowMs) continue;
      const payload = stored.subarray(LATEST_PREFIX_BYTES);
      values.push({ key: key.toString(), version: readUint64(stored, 0), payload });
    }
    return { position: readPosition(reply), latest: values };
  }

  async positions(channels: readonly Channel[]): Promise<readonly (StreamPosition | undefined)[]> {
    return this.#connection.runEach(
      channels.map((channel) => async (client) => {
        return readPosition(await client.hmgetBuffer(channelKeys(channel).meta, "epoch", "offset", "tag"));
      }),
      "read-positions",
    );
  }

  async rotate(channel: Channel, forked: StreamPosition): Promise<StreamPosition> {
    const { partition, meta, history } = channelKeys(channel);
    const { epoch, offset, tag } = forked;
    const args = [epoch, offset, tag, this.#epochSeed + ROTATED];
    return readPosition(
      listOf(await this.#connection.script(ROTATE, { partition, keys: [meta, history], args })),
    );
  }

  async history(channel: Channel, range: HistoryRange): Promise<readonly HistoryEvent[]> {
    // Redis takes "before the very first" for a fault.
    if (range.limit <= 0 || ("beforeOffset" in range && range.beforeOffset <= 0)) return [];
    const { partition, meta, history } = channelKeys(channel);
    const reply = listOf(
      await this.#connection.script(READ_HISTORY, {
        partition,
        keys: [meta, history],
        args: [...boundOf(range), range.limit, range.maxBytes ?? ""],
      }),
    );
    const epoch = optionalBytesOf(reply[0])?.toString() ?? "";
    return listOf(reply[1]).map((entry) => {
      const [id, fields] = listOf(entry);
      const [, tag, , payload] = listOf(fields);
      const offset = Number.parseInt(bytesOf(id).toString("latin1"), 10);
      return { position: { epoch, offset, tag: integerOf(tag) }, payload: bytesOf(payload) };
    });
  }

  /** Hears nothing more. The connection belongs to whoever made it. */
  async close(): Promise<void> {
    for (const pubsub of this.#followed) this.#connection.subscriber.unsubscribe(pubsub);
    this.#followed.clear();
  }
}

function boundOf(range: HistoryRange): readonly [direction: string, offset: number | string] {
  if ("afterOffset" in range) return ["after", range.afterOffset];
  return ["before", Number.isFinite(range.beforeOffset) ? range.beforeOffset : ""];
}

/** Keys come from users, and are remembered. */
function digestOf(key: string): Buffer {
  return createHash("sha256").update(key).digest().subarray(0, 16);
}

/** `epoch:offset:tag:timeMs`, and of a message `:number`. */
function readAnswer(text: Buffer): { position: StreamPosition; timeMs: number; number?: number } {
  const [epoch = "", offset, tag, timeMs, number] = text.toString("latin1").split(":");
  return {
    position: { epoch, offset: Number(offset), tag: Number(tag) },
    timeMs: Number(timeMs),
    ...(number !== undefined && { number: Number(number) }),
  };
}

function readPosition(meta: readonly unknown[]): StreamPosition {
  return {
    epoch: optionalBytesOf(meta[0])?.toString() ?? "",
    offset: integerOf(meta[1]),
    tag: integerOf(meta[2]),
  };
}

/** The same bytes, not a copy. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
