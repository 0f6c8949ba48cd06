/**
 * What the processes are configured to, resolved: the shapes that the loaders make and the composition
 * roots read. Where a part of edge/ or fanout/ defines its own options, they are used as they are.
 */
import type { AdmissionLimits } from "#edge/admission/admission.js";
import type { JwtOptions } from "#edge/auth/jwt-verifier.js";
import type { LinkClientTls } from "#edge/link/grpc-connect.js";
import type { SlowSocketLimits } from "#edge/socket/socket-writer.js";
import type { OutboxTopicsOptions } from "#fanout/channel/outbox-topics.js";
import type { ChatSettings } from "#fanout/chat/chat-part.js";
import type { NotificationSettings } from "#fanout/notification/notification-part.js";
import type { RateLimits } from "#fanout/limits/rate-limits.js";
import type { LocationLimits } from "#fanout/location/location-sanity.js";
import type { KafkaConnectionOptions } from "#fanout/event/kafka-connection.js";
import type { PresenceSettings } from "#fanout/presence/presence.js";
import type { RedisConnectionOptions } from "#fanout/redis/redis-clients.js";
import type { SessionLimitSettings } from "#fanout/session/session-limit.js";
import type { TokenSettings } from "#fanout/session/token-part.js";

export type NodeEnvironment = "development" | "production" | "test";
export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
export type FanoutRole = "serve" | "consume" | "relay";

/** What every process has. */
export interface ProcessConfig {
  readonly environment: NodeEnvironment;
  readonly serverId: string;
  readonly logLevel: LogLevel;
  /** Where sockets, HTTP and metrics are served. */
  readonly host: string;
  readonly metricsPort: number;
  readonly testHooks: boolean;
  /** What is allowed and perhaps not meant; each is logged at the start. */
  readonly warnings: readonly string[];
}

/** PEM texts. */
export interface ServerTls {
  readonly key: string;
  /** The certificate, its chain after it. */
  readonly cert: string;
}

export interface MutualServerTls extends ServerTls {
  /** Set: only clients with a certificate of this authority get a connection. */
  readonly clientCa?: string;
}

/** The part that holds sockets. */
export interface SocketConfig {
  readonly port: number;
  readonly tls: ServerTls | undefined;
  readonly jwt: JwtOptions;
  readonly trustUserType: boolean;
  /** The app of sessions without a token; `undefined`: everybody needs one. */
  readonly anonymousApp: string | undefined;
  /** 0: nobody is warned. */
  readonly tokenExpiryWarningMs: number;
  readonly allowedOrigins: readonly string[];
  readonly trustedProxies: number;
  readonly admission: AdmissionLimits;
  readonly firstFrameDeadlineMs: number;
  readonly heartbeatIntervalMs: number;
  /** 0: none. */
  readonly maxConnectionLifetimeMs: number;
  readonly maxPayloadBytes: number;
  readonly maxFragments: number;
  readonly slow: SlowSocketLimits;
  readonly maxQueuedBytes: number;
  readonly drainWindowMs: number;
}

/** The edge's end of the link. */
export interface EdgeLinkConfig {
  /** `host:port,host:port` or `dns:///name:port`. */
  readonly addresses: string;
  readonly resolveIntervalMs: number;
  readonly token: string | undefined;
  readonly tls: LinkClientTls | undefined;
}

/** The fanout's end of the link. */
export interface FanoutLinkConfig {
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  readonly tls: MutualServerTls | undefined;
}

export interface ApiConfig {
  readonly host: string;
  readonly port: number;
  /** Any of them is accepted; none, and no client CA: loopback only. */
  readonly serviceTokens: readonly string[];
  readonly tls: MutualServerTls | undefined;
  readonly reflection: boolean;
}

export interface KafkaConfig {
  readonly connection: KafkaConnectionOptions;
  readonly groupId: string;
  readonly topics: KafkaTopics;
}

export interface KafkaTopics {
  readonly orders: string;
  readonly porters: string;
  readonly notifications: string;
  readonly revocations: string;
}

/** The part that holds the logic. */
export interface LogicConfig {
  readonly api: ApiConfig;
  readonly httpPort: number;
  readonly roles: ReadonlySet<FanoutRole>;
  readonly locationSampleEvery: number;
  readonly locationTtlMs: number;
  readonly locationLimits: LocationLimits;
  readonly sessionTtlMs: number;
  readonly offerRetentionMs: number;
  readonly tokens: TokenSettings;
  /** The claim of a merchant's token that names their restaurant or shop. */
  readonly merchantClaim: string;
  readonly sessionLimit: SessionLimitSettings;
  readonly directoryRebuildWindowMs: number;
  /** Which of the apps' own events must reach Kafka too. */
  readonly outbox: OutboxTopicsOptions;
  /** That may wait for Kafka in each partition of the store. */
  readonly outboxMaxEvents: number;
  readonly rateLimits: RateLimits;
  readonly presence: PresenceConfig;
  readonly chat: Required<ChatSettings>;
  readonly notifications: Required<NotificationSettings>;
  /** How long a user's own channel keeps what they have missed. */
  readonly userChannelTtlMs: number;
  /** `undefined`: state is kept in the process. */
  readonly redis: RedisConnectionOptions | undefined;
  /** `undefined`: events stay in the process. */
  readonly kafka: KafkaConfig | undefined;
}

export interface PresenceConfig extends Required<PresenceSettings> {
  readonly maxToldMembers: number;
  readonly lastSeenTtlMs: number;
}

export interface EdgeConfig extends ProcessConfig, SocketConfig {
  readonly link: EdgeLinkConfig;
}

export interface FanoutConfig extends ProcessConfig, LogicConfig {
  readonly link: FanoutLinkConfig;
}

/** Both parts in one process, the link within it. */
export interface GatewayConfig extends ProcessConfig {
  readonly sockets: SocketConfig;
  readonly logic: LogicConfig;
  /** True where no secret was configured and one was made for this run. */
  readonly hasDevelopmentSecret: boolean;
}
