/**
 * Chooses where a fanout's state is: in Redis, or in the process where none is configured. A configured
 * Redis that cannot be reached at the start is an error, never a fall-back.
 */
import type { Dependency } from "#proto/gen/realtime/link/v1/link.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { RedisDirectory } from "#fanout/directory/directory-redis.js";
import type { FanoutStores } from "#fanout/fanout.js";
import type { Logger } from "#fanout/fanout-logger.js";
import { MemoryLocations } from "#fanout/location/locations-memory.js";
import { RedisLocations } from "#fanout/location/locations-redis.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { MemorySessionRegistry } from "#fanout/session/session-registry-memory.js";
import { RedisSessionRegistry } from "#fanout/session/session-registry-redis.js";
import { SystemClock } from "#fanout/store-clock.js";
import { RedisStoreClock } from "#fanout/store-clock-redis.js";
import type { LogicConfig } from "#services/config/config.js";

export interface OpenStores {
  readonly stores: FanoutStores;
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
  return {
    stores: {
      broker: new MemoryBroker(),
      directory: new MemoryDirectory(),
      locations: new MemoryLocations({ ttlMs: config.locationTtlMs }),
      registry: new MemorySessionRegistry(),
      clock: new SystemClock(),
    },
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
  return {
    stores: {
      broker: new RedisBroker({ connection }),
      directory: new RedisDirectory({ connection }),
      locations: new RedisLocations({ connection, ttlMs: config.locationTtlMs }),
      registry: new RedisSessionRegistry({ connection, ttlMs: config.sessionTtlMs }),
      clock,
    },
    dependency: () => {
      const { isUp, reconnectAttempts } = connection.status();
      return { name: "redis", up: isUp, reconnectAttempts, implementation: "redis" };
    },
    operations: () => connection.operations(),
    onChange: (listener) => void connection.onChange(listener),
    close: () => {
      clock.stop();
      connection.close();
    },
  };
}
