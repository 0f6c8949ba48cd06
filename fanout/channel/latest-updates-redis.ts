/**
 * Latest values on their way to Redis: gathered for a moment while many come, then stored and sent to followers
 * by few calls of one script.
 */
import { PROCESS_PACE } from "#proto/flush-pace.js";
import { channelKeys } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { ScriptBatches } from "#fanout/redis/script-batches.js";
import { loadScript } from "#fanout/redis/scripts.js";
import type { LatestValue } from "./broker.js";
import type { Channel } from "./channel.js";
import type { ChannelKind } from "./channel-kinds.js";
import { kindOptions, MAX_LATEST_VALUES } from "./channel-limits.js";
import { latestMessage } from "./envelope-redis.js";

const UPDATE = loadScript(import.meta.url, "./lua/update-latest.lua");
const VALUES_PER_CALL = 100;

export class LatestUpdates {
  readonly #batches: ScriptBatches;
  readonly #kinds: ReadonlyMap<string, ChannelKind> | undefined;
  #isScheduled = false;

  constructor(connection: RedisConnection, kinds: ReadonlyMap<string, ChannelKind> | undefined) {
    this.#kinds = kinds;
    const firstArgs = [MAX_LATEST_VALUES];
    this.#batches = new ScriptBatches({ connection, script: UPDATE, firstArgs, maxPerCall: VALUES_PER_CALL });
  }

  /** Resolves when Redis has answered. @throws GatewayError unavailable. */
  add(channel: Channel, value: LatestValue): Promise<void> {
    const { partition, latest, pubsub } = channelKeys(channel);
    const { headerBytes, message } = latestMessage(value);
    const args = [
      value.key,
      value.version,
      kindOptions(channel, this.#kinds).latestTtlMs,
      headerBytes,
      message,
    ];
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      PROCESS_PACE.schedule(this.#flush);
    }
    return this.#batches.add(partition, [latest, pubsub], args);
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    this.#batches.flush();
  };
}
