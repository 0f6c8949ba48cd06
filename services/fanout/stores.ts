/**
 * Chooses where a fanout's state is: in Redis, or in the process where none is configured. A configured
 * Redis that cannot be reached at the start is an error, never a fall-back.
 */
import type { Dependency } from "#proto/gen/realtime/link/v1/link.js";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { RedisDirectory } from "#fanout/directory/directory-redis.js";
import type { FanoutStores } from "#fanout/fanout.js";
import type { Logger } from "#fanout/fanout-logger.js";
import type { Outbox } from "#fanout/outbox/outbox.js";
import { MemoryOutbox } from "#fanout/outbox/outbox-memory.js";
import { RedisOutbox } from "#fanout/outbox/outbox-redis.js";
import { MemoryLocations } from "#fanout/location/locations-memory.js";
import { RedisLocations } from "#fanout/location/locations-redis.js";
import { PartitionSentinels } from "#fanout/redis/partition-sentinels.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { MemoryResumableSessions } from "#fanout/session/resumable-sessions-memory.js";
import { RedisResumableSessions } from "#fanout/session/resumable-sessions-redis.js";
import { MemoryResumeKeys } from "#fanout/session/resume-keys-memory.js";
import { RedisResumeKeys } from "#fanout/session/resume-keys-redis.js";
import { MemorySessionRegistry } from "#fanout/session/session-registry-memory.js";
import { RedisSessionRegistry } from "#fanout/session/session-registry-redis.js";
import { SystemClock } from "#fanout/store-clock.js";
import { RedisStoreClock } from "#fanout/store-clock-redis.js";
import type { LogicConfig } from "#services/config/config.js";

export interface OpenStores {
  readonly stores: FanoutStores;
  /** Absent where others relay it. */
  readonly outbox: Outbox | undefined;
  dependency(): Dependency;
  /** How often each operation was sent to the store; empty in the process. */
  operations(): Iterable<readonly [operation: string, count: number]>;
  onChange(listener: () => void): void;
  close(): void;
}

/** @throws Error naming REDIS_URL where a configured Redis cannot be used. */
export async function openStores(config: LogicConfig, logger: Logger): Promise<OpenStores> {
  return config.redis === undefined ? memoryStores(config) : redisStores(config, logger);
}

function memoryStores(config: LogicConfig): OpenStores {
  const channels = new MemoryChannels();
  return {
    stores: {
      broker: new MemoryBroker({ channels, outboxBound: config.outboxMaxEvents }),
      directory: new MemoryDirectory(),
      locations: new MemoryLocations({ ttlMs: config.locationTtlMs }),
      registry: new MemorySessionRegistry(),
      resumables: new MemoryResumableSessions({ ttlMs: config.sessionTtlMs }),
      resumeKeys: new MemoryResumeKeys(),
      clock: new SystemClock(),
    },
    // Whatever the roles: nobody else can reach it.
    outbox: new MemoryOutbox(channels.outbox),
    dependency: () => ({ name: "redis", up: true, reconnectAttempts: 0, implementation: "memory" }),
    operations: () => [],
    onChange: () => undefined,
    close: () => undefined,
  };
}

async function redisStores(config: LogicConfig, logger: Logger): Promise<OpenStores> {
  const connection = await RedisConnection.connect(config.redis ?? {}, (what, error) =>
    logger.warn({ err: error, what }, "redis"),
  );
  const clock = await RedisStoreClock.start({ askUs: () => connection.timeUs() });
  const resumeKeys = await RedisResumeKeys.start(connection);
  const sentinels = await PartitionSentinels.start({
    connection,
    rebuildWindowMs: config.directoryRebuildWindowMs,
    onFault: (what, error) => logger.warn({ err: error, what }, "redis"),
  });
  return {
    stores: {
      broker: new RedisBroker({ connection, outboxBound: config.outboxMaxEvents }),
      directory: new RedisDirectory({ connection, sentinels }),
      locations: new RedisLocations({ connection, ttlMs: config.locationTtlMs }),
      registry: new RedisSessionRegistry({ connection, ttlMs: config.sessionTtlMs }),
      resumables: new RedisResumableSessions({ connection, ttlMs: config.sessionTtlMs }),
      resumeKeys,
      clock,
      dataLoss: sentinels,
    },
    outbox: config.roles.has("relay") ? new RedisOutbox({ connection }) : undefined,
    dependency: () => {
      const { isUp, reconnectAttempts } = connection.status();
      return { name: "redis", up: isUp, reconnectAttempts, implementation: "redis" };
    },
    operations: () => connection.operations(),
    onChange: (listener) => void connection.onChange(listener),
    close: () => {
      clock.stop();
      resumeKeys.stop();
      sentinels.stop();
      connection.close();
    },
  };
}
