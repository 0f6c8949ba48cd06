/** Resolves the part that holds sockets; the numbers that have no variable are the edge's own defaults. */
import { DEFAULT_ADMISSION_LIMITS, type AdmissionLimits } from "#edge/admission/admission.js";
import { OriginList } from "#edge/admission/origin.js";
import type { JwtOptions } from "#edge/auth/jwt-verifier.js";
import type { ServerTls, SocketConfig } from "./config.js";
import type { EnvironmentReader } from "./environment-reader.js";
import { readKeyPair } from "./tls-files.js";
import { socketVariables } from "./variables/sockets.js";
import { tokenVariables } from "./variables/tokens.js";

/** A bucket holds so many seconds of its rate. */
const BURST_SECONDS = 2;

/** `developmentSecret` is taken where nothing else says how tokens are checked. */
export function readSockets(reader: EnvironmentReader, developmentSecret: string | undefined): SocketConfig {
  return {
    port: reader.get(socketVariables.port),
    tls: readTls(reader),
    jwt: readJwt(reader, developmentSecret),
    trustUserType: reader.get(tokenVariables.trustUserType),
    anonymousApp: reader.get(tokenVariables.allowAnonymous)
      ? reader.get(tokenVariables.defaultApp)
      : undefined,
    tokenExpiryWarningMs: reader.get(tokenVariables.tokenExpiryWarningMs),
    allowedOrigins: readOrigins(reader),
    trustedProxies: reader.get(socketVariables.trustedProxies),
    admission: readAdmission(reader),
    firstFrameDeadlineMs: reader.get(socketVariables.firstFrameDeadlineMs),
    heartbeatIntervalMs: reader.get(socketVariables.heartbeatIntervalMs),
    maxConnectionLifetimeMs: reader.get(socketVariables.maxConnectionLifetimeMs),
    maxPayloadBytes: reader.get(socketVariables.maxPayloadBytes),
    maxFragments: reader.get(socketVariables.maxFragments),
    ...readQueues(reader),
    drainWindowMs: reader.get(socketVariables.drainWindowMs),
  };
}

/** Whether the environment says how tokens are checked. */
export function hasTokenKeys(reader: EnvironmentReader): boolean {
  const { socketSecret, sharedSecret, accessSecret, jwksUrl } = tokenVariables;
  return [socketSecret, sharedSecret, accessSecret, jwksUrl].some((variable) => reader.isSet(variable));
}

function readTls(reader: EnvironmentReader): ServerTls | undefined {
  const { tlsEnabled, tlsKey, tlsCert } = socketVariables;
  const pair = readKeyPair(reader, { key: tlsKey, cert: tlsCert });
  if (!reader.get(tlsEnabled)) return undefined;
  if (!reader.isSet(tlsKey) && !reader.isSet(tlsCert)) {
    reader.fault(tlsEnabled, `is true: ${tlsKey.name} and ${tlsCert.name} must be set`);
  }
  return pair;
}

function readJwt(reader: EnvironmentReader, developmentSecret: string | undefined): JwtOptions {
  if (!hasTokenKeys(reader) && developmentSecret === undefined) {
    reader.fault(
      tokenVariables.socketSecret,
      `must be set (or ${tokenVariables.jwksUrl.name}): without a key no token can be checked`,
    );
  }
  const sharedSecret = reader.get(tokenVariables.sharedSecret);
  return {
    socketSecret: reader.get(tokenVariables.socketSecret) ?? sharedSecret ?? developmentSecret,
    accessSecret: reader.get(tokenVariables.accessSecret),
    jwksUrl: reader.get(tokenVariables.jwksUrl),
    issuer: reader.get(tokenVariables.issuer),
    audience: reader.get(tokenVariables.audience),
    clockToleranceSeconds: reader.get(tokenVariables.clockToleranceMs) / 1000,
    maxLifetimeSeconds: reader.get(tokenVariables.maxTokenLifetimeMs) / 1000,
    userClaim: reader.get(tokenVariables.userClaim),
    roleClaim: reader.get(tokenVariables.roleClaim),
    appClaim: reader.get(tokenVariables.appClaim),
    defaultApp: reader.get(tokenVariables.defaultApp),
    passedClaims: [
      ...new Set([
        reader.get(tokenVariables.merchantClaim),
        ...(reader.get(tokenVariables.passedClaims) ?? []),
      ]),
    ],
  };
}

function readOrigins(reader: EnvironmentReader): readonly string[] {
  const patterns = reader.get(socketVariables.allowedOrigins);
  try {
    new OriginList(patterns);
  } catch {
    reader.fault(
      socketVariables.allowedOrigins,
      "must be *, or a list of origins as https://app.example.com or https://*.example.com",
    );
  }
  return patterns;
}

function readAdmission(reader: EnvironmentReader): AdmissionLimits {
  const handshakesPerSecond = reader.get(socketVariables.handshakesPerSecond);
  const handshakesPerSecondPerAddress = reader.get(socketVariables.handshakesPerSecondPerAddress);
  return {
    ...DEFAULT_ADMISSION_LIMITS,
    maxConnections: reader.get(socketVariables.maxConnections),
    handshakesPerSecond,
    handshakeBurst: handshakesPerSecond * BURST_SECONDS,
    maxWaitingHandshakes: reader.get(socketVariables.maxWaitingHandshakes),
    connectionsPerAddress: reader.get(socketVariables.connectionsPerAddress),
    handshakesPerSecondPerAddress,
    handshakeBurstPerAddress: handshakesPerSecondPerAddress * BURST_SECONDS,
  };
}

function readQueues(reader: EnvironmentReader): Pick<SocketConfig, "slow" | "maxQueuedBytes"> {
  const { slowConflateBytes, slowCloseBytes, maxQueuedBytes } = socketVariables;
  const queues = {
    slow: { conflateBytes: reader.get(slowConflateBytes), closeBytes: reader.get(slowCloseBytes) },
    maxQueuedBytes: reader.get(maxQueuedBytes),
  };
  if (queues.slow.conflateBytes > queues.slow.closeBytes) {
    reader.fault(slowConflateBytes, `must not be more than ${slowCloseBytes.name}`);
  }
  if (queues.slow.closeBytes > queues.maxQueuedBytes) {
    reader.fault(slowCloseBytes, `must not be more than ${maxQueuedBytes.name}`);
  }
  return queues;
}
