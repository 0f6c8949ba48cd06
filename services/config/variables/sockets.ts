/** The variables of the part that holds sockets: where, for whom, how many, how large, how slow. */
import { duration, integer, listOf, orZero, pemFile, port, size, text, trueOrFalse } from "../value-kind.js";
import { EDGES, optional, withDefault } from "../variable.js";

const count = integer({ min: 1, max: 1_000_000 });

export const socketVariables = {
  port: withDefault("PORT", port, {
    default: "3002",
    usedBy: EDGES,
    about: "Where apps connect: `/ws`, and `/health`, `/ready` and `/metrics` (JSON).",
  }),
  tlsEnabled: withDefault("TLS_ENABLED", trueOrFalse, {
    default: "false",
    usedBy: EDGES,
    about: "Whether `PORT` speaks TLS itself (wss, https), with the two files below.",
  }),
  tlsKey: optional("TLS_KEY_FILE", pemFile, {
    unset: "needed where TLS_ENABLED is true",
    usedBy: EDGES,
    about: "The private key for `PORT`, in PEM.",
  }),
  tlsCert: optional("TLS_CERT_FILE", pemFile, {
    unset: "needed where TLS_ENABLED is true",
    usedBy: EDGES,
    about: "The certificate for `PORT`, in PEM, its chain after it.",
  }),
  allowedOrigins: withDefault("CORS_ORIGIN", listOf(text(), "a list of origins, or *"), {
    default: "*",
    usedBy: EDGES,
    about: "Web pages that may open sockets: `*`, `https://app.example.com`, `https://*.example.com`, …",
  }),
  trustedProxies: withDefault("TRUSTED_PROXIES", integer({ min: 0, max: 16 }), {
    default: "0",
    usedBy: EDGES,
    about: "How many proxies in front are ours: so many entries of X-Forwarded-For are believed.",
  }),
  maxConnections: withDefault("MAX_CONNECTIONS", count, {
    default: "20000",
    usedBy: EDGES,
    about: "Sockets at this process; more are refused with 503.",
  }),
  handshakesPerSecond: withDefault("HANDSHAKES_PER_SECOND", count, {
    default: "500",
    usedBy: EDGES,
    about:
      "New sockets a second, with bursts of twice as many; more wait for their turn, in the order in which they came.",
  }),
  maxWaitingHandshakes: withDefault("MAX_WAITING_HANDSHAKES", integer({ min: 0, max: 100_000 }), {
    default: "4000",
    usedBy: EDGES,
    about:
      "New sockets that wait for their turn, each for at most 10 s; more are refused and told when to come.",
  }),
  connectionsPerAddress: withDefault("CONNECTIONS_PER_ADDRESS", count, {
    default: "5000",
    usedBy: EDGES,
    about: "Sockets of one client address; high, because carriers put thousands behind one.",
  }),
  handshakesPerSecondPerAddress: withDefault("HANDSHAKES_PER_SECOND_PER_ADDRESS", count, {
    default: "200",
    usedBy: EDGES,
    about: "New sockets a second of one client address, with bursts of twice as many.",
  }),
  firstFrameDeadlineMs: withDefault("FIRST_FRAME_DEADLINE", duration({ min: "100ms", max: "5m" }), {
    default: "10s",
    usedBy: EDGES,
    about: "A socket that brought no token with its handshake must authenticate within this.",
  }),
  heartbeatIntervalMs: withDefault("HEARTBEAT_INTERVAL", duration({ min: "1s", max: "5m" }), {
    default: "25s",
    usedBy: EDGES,
    about: "How often sockets are pinged; one that is silent for two of them is closed.",
  }),
  maxConnectionLifetimeMs: withDefault(
    "MAX_CONNECTION_LIFETIME",
    orZero(duration({ min: "10s", max: "30d" })),
    {
      default: "0",
      usedBy: EDGES,
      about:
        "After about this a socket is told to connect again and closed, so that load spreads to new edges. 0: never.",
    },
  ),
  maxPayloadBytes: withDefault("MAX_PAYLOAD_BYTES", size({ min: "1KiB", max: "8MiB" }), {
    default: "64KiB",
    usedBy: EDGES,
    about: "The largest frame that a client may send.",
  }),
  maxFragments: withDefault("MAX_FRAGMENTS", integer({ min: 1, max: 10_000 }), {
    default: "128",
    usedBy: EDGES,
    about: "How many pieces a client may send a frame in.",
  }),
  slowConflateBytes: withDefault("SLOW_CONFLATE_BYTES", size({ min: "1KiB", max: "1GiB" }), {
    default: "64KiB",
    usedBy: EDGES,
    about: "Queued for one socket; above it only the newest of each `latest` event is kept.",
  }),
  slowCloseBytes: withDefault("SLOW_CLOSE_BYTES", size({ min: "1KiB", max: "1GiB" }), {
    default: "1MiB",
    usedBy: EDGES,
    about: "Queued for one socket; at it the socket is closed as slow.",
  }),
  maxQueuedBytes: withDefault("EDGE_QUEUE_BYTES", size({ min: "1MiB", max: "64GiB" }), {
    default: "256MiB",
    usedBy: EDGES,
    about: "Queued for all sockets together; above it those with the longest queues are closed.",
  }),
  drainWindowMs: withDefault("DRAIN_WINDOW", duration({ min: "0s", max: "1h" }), {
    default: "30s",
    usedBy: EDGES,
    about:
      "On SIGTERM sockets are told to reconnect, each after its share of this; the process ends within it and 10 s.",
  }),
};
