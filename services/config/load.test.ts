/** The loaders: defaults, faults, what is open to whom, and that the schema lists exactly what is read. */
import { describe, expect, test } from "vitest";
import { DEFAULT_ADMISSION_LIMITS } from "#edge/admission/admission.js";
import { DEFAULT_RATE_LIMITS } from "#fanout/limits/rate-limits.js";
import { ConfigurationError, EnvironmentReader, type Environment } from "./environment-reader.js";
import { loadEdgeConfig, loadFanoutConfig, loadGatewayConfig } from "./load.js";
import { variablesOf } from "./schema.js";
import type { ProcessName } from "./variable.js";

const SECRET = "a-secret-for-tests-of-32-bytes-or-more";
const PEM = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";

const LOADERS = { edge: loadEdgeConfig, fanout: loadFanoutConfig, gateway: loadGatewayConfig };

function faultsOf(process: ProcessName, environment: Environment, files = () => PEM): readonly string[] {
  try {
    LOADERS[process](environment, new EnvironmentReader(process, environment, files));
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults;
    throw error;
  }
  return [];
}

describe("the schema and the loaders", () => {
  test.each(["edge", "fanout", "gateway"] as const)(
    "the %s reads exactly what the schema says it reads",
    (process) => {
      const reader = new EnvironmentReader(process, { JWT_SECRET: SECRET });
      LOADERS[process]({ JWT_SECRET: SECRET }, reader);
      const expected = variablesOf(process).map(({ name }) => name);
      expect([...reader.namesRead].sort()).toEqual(expected.sort());
    },
  );

  test("the defaults are those of the contract with operators", () => {
    const config = loadEdgeConfig({ JWT_SOCKET_SECRET: SECRET });
    expect(config).toMatchObject({
      environment: "development",
      host: "0.0.0.0",
      port: 3002,
      metricsPort: 9090,
      tls: undefined,
      maxPayloadBytes: 65_536,
      maxFragments: 128,
      firstFrameDeadlineMs: 10_000,
      heartbeatIntervalMs: 25_000,
      slow: { conflateBytes: 65_536, closeBytes: 1_048_576 },
      maxQueuedBytes: 268_435_456,
      maxConnectionLifetimeMs: 0,
      drainWindowMs: 30_000,
      trustUserType: false,
      link: { addresses: "127.0.0.1:50052", token: undefined, tls: undefined },
    });
    expect(config.admission).toEqual(DEFAULT_ADMISSION_LIMITS);
    expect(loadFanoutConfig({})).toMatchObject({
      metricsPort: 9091,
      httpPort: 8082,
      api: { host: "127.0.0.1", port: 50_051, serviceTokens: [], reflection: true },
      link: { host: "127.0.0.1", port: 50_052 },
      locationSampleEvery: 10,
      locationTtlMs: 3_600_000,
      locationLimits: { maxAccuracyMeters: 0, maxSpeedMetersPerSecond: 0 },
      sessionTtlMs: 86_400_000,
      directoryRebuildWindowMs: 600_000,
      outbox: { customTypes: [], customTopic: "custom-events" },
      rateLimits: DEFAULT_RATE_LIMITS,
      redis: undefined,
      kafka: undefined,
    });
  });
});

describe("wrong values", () => {
  test("all faults are told at once, each with its variable and what it must be", () => {
    const faults = faultsOf("edge", {
      JWT_SECRET: SECRET,
      PORT: "http",
      DRAIN_WINDOW: "30",
      MAX_PAYLOAD_BYTES: "64 KB",
    });
    expect(faults).toEqual([
      'PORT is "http" and must be a port, 0 to 65535',
      'MAX_PAYLOAD_BYTES is "64 KB" and must be a size from 1KiB to 8MiB, in bytes or as 64KiB or 1MiB',
      'DRAIN_WINDOW is "30" and must be a duration from 0s to 1h, as 500ms, 30s, 5m or 1h',
    ]);
  });

  test("a secret is in no message", () => {
    const faults = faultsOf("gateway", {
      JWT_SOCKET_SECRET: "hunter2",
      API_TOKENS: "hunter2 hunter2",
      REDIS_URL: "http://user:hunter2@redis",
    });
    expect(faults).toHaveLength(3);
    expect(faults.join()).not.toContain("hunter2");
  });

  test.each([
    ["edge", { JWT_SECRET: SECRET, TLS_ENABLED: "true" }, "TLS_ENABLED is true"],
    ["edge", { JWT_SECRET: SECRET, TLS_KEY_FILE: "key.pem" }, "TLS_CERT_FILE must be set together"],
    ["edge", { JWT_SECRET: SECRET, CORS_ORIGIN: "example" }, "CORS_ORIGIN must be *"],
    ["edge", { JWT_SECRET: SECRET, SLOW_CONFLATE_BYTES: "2MiB" }, "SLOW_CONFLATE_BYTES must not be more"],
    [
      "edge",
      { JWT_SECRET: SECRET, EDGE_QUEUE_BYTES: "1MiB", SLOW_CLOSE_BYTES: "2MiB" },
      "SLOW_CLOSE_BYTES must not be more",
    ],
    ["edge", { JWT_SECRET: SECRET, FANOUT_ADDRS: "fanout" }, "FANOUT_ADDRS"],
    ["edge", { JWT_SECRET: SECRET, TEST_HOOKS: "true", NODE_ENV: "production" }, "TEST_HOOKS must be false"],
    ["fanout", { REDIS_PASSWORD: "p" }, "REDIS_PASSWORD is set, but none of"],
    ["fanout", { REDIS_PORT: "tcp://10.0.0.1:6379" }, "enableServiceLinks"],
    ["fanout", { REDIS_HOST: "a", REDIS_URL: "redis://b" }, "REDIS_HOST is set beside REDIS_URL"],
    ["fanout", { REDIS_SENTINELS: "a:26379" }, "REDIS_SENTINEL_NAME must be set"],
    ["fanout", { REDIS_CLUSTER_NODES: "a:1", REDIS_DB: "2" }, "REDIS_DB must be 0"],
    ["fanout", { KAFKA_BROKERS: "kafka" }, "KAFKA_BROKERS"],
    [
      "fanout",
      { KAFKA_BROKERS: "a:1", KAFKA_SASL_MECHANISM: "plain", KAFKA_SASL_USERNAME: "u" },
      "KAFKA_SASL_PASSWORD must be set",
    ],
    ["fanout", { KAFKA_SASL_USERNAME: "u" }, "KAFKA_SASL_USERNAME is set, but KAFKA_BROKERS"],
    ["fanout", { FANOUT_ROLES: "serve,cook" }, "FANOUT_ROLES"],
    ["fanout", { RATE_LIMIT_CHAT: "off" }, "RATE_LIMIT_CHAT"],
    ["fanout", { RATE_LIMIT_GENERAL: "0/60s" }, "RATE_LIMIT_GENERAL"],
    ["gateway", { RATE_LIMIT_PING: "none" }, "RATE_LIMIT_PING"],
    ["gateway", { RATE_LIMIT_CLOSE_AFTER: "0" }, "RATE_LIMIT_CLOSE_AFTER"],
    ["fanout", { RATE_LIMIT_ROLES: "porter.cooking=1/1s" }, "RATE_LIMIT_ROLES"],
    ["fanout", { RATE_LIMIT_ROLES: "porter.chat=off" }, "RATE_LIMIT_ROLES"],
    ["fanout", { RATE_LIMIT_ROLES: "p.chat=1/1s,p.chat=2/1s" }, "says p.chat twice"],
    ["fanout", { API_TLS_CLIENT_CA_FILE: "ca.pem" }, "API_TLS_CLIENT_CA_FILE needs"],
  ] as const)("the %s refuses %j", (process, environment, fault) => {
    expect(faultsOf(process, environment).join("\n")).toContain(fault);
  });

  test("a file that is missing, or no PEM, is a fault with the variable's name", () => {
    const environment = {
      JWT_SECRET: SECRET,
      TLS_KEY_FILE: "key",
      TLS_CERT_FILE: "cert",
      TLS_ENABLED: "true",
    };
    expect(faultsOf("edge", environment, () => "hello")).toEqual([
      'TLS_KEY_FILE is "key" and must be the path of a PEM file that this process can read',
      'TLS_CERT_FILE is "cert" and must be the path of a PEM file that this process can read',
    ]);
    const missing = (): string => {
      throw new Error("ENOENT");
    };
    expect(faultsOf("edge", environment, missing)).toHaveLength(2);
  });
});

describe("what is open", () => {
  test("an edge without a way to check tokens does not start", () => {
    expect(faultsOf("edge", {}).join()).toContain("JWT_SOCKET_SECRET must be set");
    expect(faultsOf("edge", { JWT_JWKS_URL: "https://id.example.com/keys" })).toEqual([]);
  });

  test("the one-process gateway makes a secret, another one each time, but not in production", () => {
    const [first, second] = [loadGatewayConfig({}), loadGatewayConfig({})];
    expect(first.hasDevelopmentSecret).toBe(true);
    expect(Buffer.byteLength(first.sockets.jwt.socketSecret ?? "")).toBeGreaterThanOrEqual(32);
    expect(first.sockets.jwt.socketSecret).not.toBe(second.sockets.jwt.socketSecret);
    expect(faultsOf("gateway", { NODE_ENV: "production" }).join()).toContain("JWT_SOCKET_SECRET must be set");
    const configured = loadGatewayConfig({ JWT_SECRET: SECRET });
    expect(configured.hasDevelopmentSecret).toBe(false);
    expect(configured.sockets.jwt.socketSecret).toBe(SECRET);
  });

  test("a link beyond loopback needs a token or certificates, at both ends", () => {
    expect(faultsOf("fanout", { LINK_HOST: "0.0.0.0" }).join()).toContain("LINK_TOKEN must be set");
    expect(faultsOf("fanout", { LINK_HOST: "0.0.0.0", LINK_TOKEN: "a-link-token" })).toEqual([]);
    const mutualTls = { LINK_TLS_KEY_FILE: "k", LINK_TLS_CERT_FILE: "c", LINK_TLS_CA_FILE: "a" };
    expect(faultsOf("fanout", { LINK_HOST: "::", ...mutualTls })).toEqual([]);
    const edge = { JWT_SECRET: SECRET, FANOUT_ADDRS: "dns:///fanout.svc:50052" };
    expect(faultsOf("edge", edge).join()).toContain("LINK_TOKEN must be set");
    expect(faultsOf("edge", { ...edge, LINK_TOKEN: "a-link-token" })).toEqual([]);
    expect(faultsOf("edge", { ...edge, ...mutualTls })).toEqual([]);
    expect(faultsOf("edge", { ...edge, FANOUT_ADDRS: "localhost:1,[::1]:2" })).toEqual([]);
  });

  test("an API beyond loopback needs tokens or certificates", () => {
    expect(faultsOf("fanout", { API_HOST: "0.0.0.0" }).join()).toContain("API_TOKENS must be set");
    expect(faultsOf("gateway", { API_HOST: "0.0.0.0" }).join()).toContain("API_TOKENS must be set");
    const config = loadFanoutConfig({ API_HOST: "0.0.0.0", API_TOKENS: "first-token, second-token" });
    expect(config.api.serviceTokens).toEqual(["first-token", "second-token"]);
  });

  test("reflection is for development", () => {
    expect(loadFanoutConfig({ NODE_ENV: "production" }).api.reflection).toBe(false);
    expect(loadFanoutConfig({ NODE_ENV: "production", API_REFLECTION: "true" }).api.reflection).toBe(true);
  });
});

describe("stores", () => {
  test("Redis is found by URL, host, Cluster or Sentinel", () => {
    const redis = (environment: Environment) => loadFanoutConfig(environment).redis;
    expect(redis({ REDIS_URL: "rediss://r:6380/3" })).toEqual({ url: "rediss://r:6380/3" });
    expect(redis({ REDIS_HOST: "r", REDIS_PASSWORD: "p", REDIS_DB: "2" })).toEqual({
      host: "r",
      port: 6379,
      password: "p",
      db: 2,
    });
    expect(redis({ REDIS_CLUSTER_NODES: "a:7000, [::1]:7001" })).toEqual({
      clusterNodes: [
        { host: "a", port: 7000 },
        { host: "::1", port: 7001 },
      ],
    });
    expect(redis({ REDIS_SENTINELS: "s:26379", REDIS_SENTINEL_NAME: "main" })).toEqual({
      sentinels: [{ host: "s", port: 26_379 }],
      sentinelName: "main",
    });
  });

  test("Kafka takes brokers, TLS and a login", () => {
    const environment = {
      KAFKA_BROKERS: "a:9092,b:9092",
      KAFKA_TLS: "true",
      KAFKA_SASL_MECHANISM: "scram-sha-256",
      KAFKA_SASL_USERNAME: "u",
      KAFKA_SASL_PASSWORD: "p",
      SERVER_ID: "fanout-1",
    };
    expect(loadFanoutConfig(environment).kafka).toEqual({
      connection: {
        brokers: ["a:9092", "b:9092"],
        clientId: "fanout-1",
        tls: true,
        sasl: { mechanism: "scram-sha-256", username: "u", password: "p" },
      },
      groupId: "realtime-gateway-group",
      topics: {
        orders: "order-events",
        porters: "porter-events",
        notifications: "notification-events",
        revocations: "revocation-events",
      },
    });
  });

  test("the apps' own events reach Kafka by their types", () => {
    const outbox = (environment: Environment) => loadFanoutConfig(environment).outbox;
    expect(outbox({ OUTBOX_CUSTOM_TYPES: "job.done, survey_v2", KAFKA_CUSTOM_TOPIC: "app.events" })).toEqual({
      customTypes: ["job.done", "survey_v2"],
      customTopic: "app.events",
    });
    expect(outbox({ OUTBOX_CUSTOM_TYPES: "" }).customTypes).toEqual([]);
    for (const types of ["job done", "a,,b", "é", "x".repeat(65)]) {
      expect(faultsOf("fanout", { OUTBOX_CUSTOM_TYPES: types }).join()).toContain("OUTBOX_CUSTOM_TYPES");
    }
    expect(faultsOf("gateway", { KAFKA_CUSTOM_TOPIC: "a b" }).join()).toContain("KAFKA_CUSTOM_TOPIC");
  });

  test("rate limits are set one by one, for a role too", () => {
    const { rateLimits } = loadFanoutConfig({
      RATE_LIMIT_CHAT: "20/1m",
      RATE_LIMIT_ROLES: "porter.location=2000/60s, app.bot.chat=500/10s,porter.chat=1000000000/1d",
      RATE_LIMIT_CLOSE_AFTER: "1000/1m",
    });
    expect(rateLimits.byClass).toEqual({
      ...DEFAULT_RATE_LIMITS.byClass,
      chat: { count: 20, windowMs: 60_000 },
    });
    expect(Object.fromEntries(rateLimits.byRole)).toEqual({
      porter: {
        location: { count: 2000, windowMs: 60_000 },
        chat: { count: 1_000_000_000, windowMs: 86_400_000 },
      },
      "app.bot": { chat: { count: 500, windowMs: 10_000 } },
    });
    expect(rateLimits.closeAfter).toEqual({ count: 1000, windowMs: 60_000 });
  });

  test("a fanout that keeps its state to itself says so", () => {
    expect(loadFanoutConfig({}).warnings.join()).toContain("REDIS_URL is unset");
    expect(loadFanoutConfig({ REDIS_URL: "redis://r", KAFKA_BROKERS: "k:1" }).warnings).toEqual([]);
  });
});

test("a variable that looks misspelt is told, one of others is not", () => {
  const { warnings } = loadGatewayConfig({
    JWT_SOCKET_SECRT: "x",
    KAFKA_BROKER: "x",
    KAFKA_HEAP_OPTS: "x",
    MAX_AGE: "x",
  });
  expect(warnings).toEqual([
    "JWT_SOCKET_SECRT is not a variable of this process; is JWT_SOCKET_SECRET meant?",
    "KAFKA_BROKER is not a variable of this process; is KAFKA_BROKERS meant?",
  ]);
});
