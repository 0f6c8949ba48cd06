/**
 * Chooses where a fanout's state is: in Redis, or in the process where none is configured. A configured
 * Redis that cannot be reached at the start is an error, never a fall-back.
 */
import type { Dependency } from "#proto/gen/realtime/link/v1/link.js";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { withUserTtl } from "#fanout/channel/channel-kinds.js";
import { RedisBroker } from "#fanout/channel/broker-redis.js";
import { MemoryChatMarks } from "#fanout/chat/marks-memory.js";
import { RedisChatMarks } from "#fanout/chat/marks-redis.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { RedisDirectory } from "#fanout/directory/directory-redis.js";
import type { FanoutStores } from "#fanout/fanout-options.js";
import type { Logger } from "#fanout/fanout-logger.js";
import type { Outbox } from "#fanout/outbox/outbox.js";
import { MemoryOutbox } from "#fanout/outbox/outbox-memory.js";
import { RedisOutbox } from "#fanout/outbox/outbox-redis.js";
import { MemoryLimits } from "#fanout/limits/limits-memory.js";
import { RedisLimits } from "#fanout/limits/limits-redis.js";
import { MemoryLocations } from "#fanout/location/locations-memory.js";
import { RedisLocations } from "#fanout/location/locations-redis.js";
import { MemorySeenMarks } from "#fanout/notification/seen-marks-memory.js";
import { RedisSeenMarks } from "#fanout/notification/seen-marks-redis.js";
import { MemoryOffers } from "#fanout/offer/offers-memory.js";
import { RedisOffers } from "#fanout/offer/offers-redis.js";
import { MemoryPresenceStore } from "#fanout/presence/presence-store-memory.js";
import { RedisPresenceStore } from "#fanout/presence/presence-store-redis.js";
import { PartitionSentinels } from "#fanout/redis/partition-sentinels.js";
import { RedisConnection } from "#fanout/redis/redis-connection.js";
import { MemoryRevocationStore } from "#fanout/revocation/revocation-store-memory.js";
import { RedisRevocationStore } from "#fanout/revocation/revocation-store-redis.js";
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
      broker: new MemoryBroker({
        channels,
        outboxBound: config.outboxMaxEvents,
        kinds: withUserTtl(config.userChannelTtlMs),
      }),
      directory: new MemoryDirectory(),
      chatMarks: new MemoryChatMarks(channels.chat),
      seenMarks: new MemorySeenMarks(),
      locations: new MemoryLocations({ ttlMs: config.locationTtlMs }),
      registry: new MemorySessionRegistry(),
      resumables: new MemoryResumableSessions({ ttlMs: config.sessionTtlMs }),
      resumeKeys: new MemoryResumeKeys(),
      revocations: new MemoryRevocationStore({ maxRevocations: config.tokens.maxRevocations }),
      offers: new MemoryOffers({
        outbox: channels.outbox,
        outboxBound: config.outboxMaxEvents,
        retentionMs: config.offerRetentionMs,
      }),
      limits: new MemoryLimits(),
      presence: new MemoryPresenceStore(config.presence),
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
      broker: new RedisBroker({
        connection,
        outboxBound: config.outboxMaxEvents,
        kinds: withUserTtl(config.userChannelTtlMs),
      }),
      directory: new RedisDirectory({ connection, sentinels }),
      chatMarks: new RedisChatMarks({ connection }),
      seenMarks: new RedisSeenMarks({ connection }),
      locations: new RedisLocations({ connection, ttlMs: config.locationTtlMs }),
      registry: new RedisSessionRegistry({ connection, ttlMs: config.sessionTtlMs }),
      resumables: new RedisResumableSessions({ connection, ttlMs: config.sessionTtlMs }),
      resumeKeys,
      revocations: new RedisRevocationStore({ connection, maxRevocations: config.tokens.maxRevocations }),
      offers: new RedisOffers({
        connection,
        outboxBound: config.outboxMaxEvents,
        retentionMs: config.offerRetentionMs,
      }),
      limits: new RedisLimits({ connection }),
      presence: new RedisPresenceStore({ connection, ...config.presence }),
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
