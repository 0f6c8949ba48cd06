/** Resolves the part that holds the logic: its API, how long it keeps things, where its stores are. */
import type { ApiConfig, FanoutRole, LogicConfig, NodeEnvironment } from "./config.js";
import type { EnvironmentReader } from "./environment-reader.js";
import { readKafka } from "./kafka-config.js";
import { isLoopback } from "./loopback.js";
import { readRateLimits } from "./rate-limits-config.js";
import { readRedis } from "./redis-config.js";
import { readMutualTls } from "./tls-files.js";
import { chatVariables } from "./variables/chat.js";
import { kafkaVariables } from "./variables/kafka.js";
import { logicVariables } from "./variables/logic.js";
import { notificationVariables } from "./variables/notifications.js";
import { presenceVariables } from "./variables/presence.js";
import { tokenVariables } from "./variables/tokens.js";

export interface LogicSurroundings {
  readonly environment: NodeEnvironment;
  readonly serverId: string;
  readonly roles: ReadonlySet<FanoutRole>;
}

export function readLogic(
  reader: EnvironmentReader,
  { environment, serverId, roles }: LogicSurroundings,
): LogicConfig {
  return {
    api: readApi(reader, environment),
    httpPort: reader.get(logicVariables.httpPort),
    roles,
    locationSampleEvery: reader.get(logicVariables.locationSampleEvery),
    locationTtlMs: reader.get(logicVariables.locationTtlMs),
    locationLimits: {
      maxAccuracyMeters: reader.get(logicVariables.locationMaxAccuracyMeters),
      maxSpeedMetersPerSecond: reader.get(logicVariables.locationMaxSpeedMetersPerSecond),
    },
    sessionTtlMs: reader.get(logicVariables.sessionTtlMs),
    tokens: {
      maxTokenLifetimeMs: reader.get(tokenVariables.maxTokenLifetimeMs),
      maxRevocations: reader.get(logicVariables.maxRevocations),
    },
    merchantClaim: reader.get(tokenVariables.merchantClaim),
    sessionLimit: {
      maxSessions: reader.get(logicVariables.maxSessionsPerUser),
      rule: reader.get(logicVariables.sessionLimitRule),
    },
    offerRetentionMs: reader.get(logicVariables.offerRetentionMs),
    directoryRebuildWindowMs: reader.get(logicVariables.directoryRebuildWindowMs),
    outbox: {
      customTypes: reader.get(kafkaVariables.outboxCustomTypes) ?? [],
      customTopic: reader.get(kafkaVariables.customTopic),
    },
    outboxMaxEvents: reader.get(logicVariables.outboxMaxEvents),
    rateLimits: readRateLimits(reader),
    presence: {
      graceMs: reader.get(presenceVariables.graceMs),
      visibility: reader.get(presenceVariables.visibility),
      maxToldMembers: reader.get(presenceVariables.maxToldMembers),
      lastSeenTtlMs: reader.get(presenceVariables.lastSeenTtlMs),
    },
    chat: {
      openConversations: reader.get(chatVariables.openConversations),
      typingTtlMs: reader.get(chatVariables.typingTtlMs),
    },
    notifications: { followBroadcasts: reader.get(notificationVariables.followBroadcasts) },
    userChannelTtlMs: reader.get(chatVariables.userChannelTtlMs),
    redis: readRedis(reader),
    kafka: readKafka(reader, serverId),
  };
}

function readApi(reader: EnvironmentReader, environment: NodeEnvironment): ApiConfig {
  const { apiHost, apiTokens, apiTlsKey, apiTlsCert, apiTlsClientCa } = logicVariables;
  const host = reader.get(apiHost);
  const isProtected = reader.isSet(apiTokens) || reader.isSet(apiTlsClientCa);
  if (!isProtected && !isLoopback(host)) {
    reader.fault(
      apiTokens,
      `must be set (or ${apiTlsClientCa.name}): ${apiHost.name} is ${host}, and beyond loopback callers ` +
        "must prove who they are",
    );
  }
  return {
    host,
    port: reader.get(logicVariables.apiPort),
    serviceTokens: reader.get(apiTokens) ?? [],
    tls: readMutualTls(reader, { key: apiTlsKey, cert: apiTlsCert, clientCa: apiTlsClientCa }),
    reflection: reader.get(logicVariables.apiReflection) ?? environment === "development",
  };
}
