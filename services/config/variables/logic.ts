/** The variables of the part that holds the logic: the API, its HTTP, and how long things are kept. */
import { duration, integer, listOf, oneOf, pemFile, port, text, trueOrFalse } from "../value-kind.js";
import { FANOUTS, optional, withDefault } from "../variable.js";

const serviceToken = text("printable", /^[\x21-\x2b\x2d-\x7e]{8,512}$/);

export const logicVariables = {
  apiHost: withDefault("API_HOST", text("an address or a host name", /^[\w.:-]{1,253}$/), {
    default: "127.0.0.1",
    usedBy: FANOUTS,
    about: "The address to listen on for backend services; beyond loopback API_TOKENS or mTLS is needed.",
  }),
  apiPort: withDefault("API_PORT", port, {
    default: "50051",
    usedBy: FANOUTS,
    about: "Where backend services call `realtime.api.v1` (gRPC).",
  }),
  apiTokens: optional(
    "API_TOKENS",
    listOf(serviceToken, "a list of tokens of 8 to 512 printable characters without spaces"),
    {
      unset: "open to loopback only",
      usedBy: FANOUTS,
      secret: true,
      about:
        "What backend services show (`authorization: Bearer …`); any of them counts, so they can be rotated.",
    },
  ),
  apiTlsKey: optional("API_TLS_KEY_FILE", pemFile, {
    unset: "the API is not encrypted",
    usedBy: FANOUTS,
    about: "The private key for `API_PORT`, in PEM.",
  }),
  apiTlsCert: optional("API_TLS_CERT_FILE", pemFile, {
    unset: "the API is not encrypted",
    usedBy: FANOUTS,
    about: "The certificate for `API_PORT`, in PEM.",
  }),
  apiTlsClientCa: optional("API_TLS_CLIENT_CA_FILE", pemFile, {
    unset: "callers show no certificate",
    usedBy: FANOUTS,
    about: "With it only callers with a certificate of this authority get a connection (mTLS).",
  }),
  apiReflection: optional("API_REFLECTION", trueOrFalse, {
    unset: "on in development only",
    usedBy: FANOUTS,
    about: "Whether gRPC reflection tells callers what the API has.",
  }),
  httpPort: withDefault("HTTP_PORT", port, {
    default: "8082",
    usedBy: FANOUTS,
    about: "The fanout's `/health` and `/ready`.",
  }),
  roles: withDefault(
    "FANOUT_ROLES",
    listOf(oneOf("serve", "consume", "relay"), "a list out of serve, consume, relay"),
    {
      default: "serve,consume,relay",
      usedBy: ["fanout"],
      about: "What this fanout does: serve edges and the API, consume from Kafka, relay to Kafka.",
    },
  ),
  locationSampleEvery: withDefault("LOCATION_SAMPLE_EVERY", integer({ min: 1, max: 1_000_000 }), {
    default: "10",
    usedBy: FANOUTS,
    about: "Of how many locations of a worker one goes to Kafka.",
  }),
  locationTtlMs: withDefault("LOCATION_TTL", duration({ min: "1s", max: "30d" }), {
    default: "1h",
    usedBy: FANOUTS,
    about: "How long a worker's last known location is kept.",
  }),
  locationMaxAccuracyMeters: withDefault(
    "LOCATION_MAX_ACCURACY_METERS",
    integer({ min: 0, max: 1_000_000 }),
    {
      default: "0",
      usedBy: FANOUTS,
      about: "Locations that are less certain than this are not passed on, as 200. 0: all are.",
    },
  ),
  locationMaxSpeedMetersPerSecond: withDefault(
    "LOCATION_MAX_SPEED_METERS_PER_SECOND",
    integer({ min: 0, max: 100_000 }),
    {
      default: "0",
      usedBy: FANOUTS,
      about: "Locations that a worker could only have reached faster are not passed on, as 100. 0: all are.",
    },
  ),
  sessionTtlMs: withDefault("SESSION_TTL", duration({ min: "1s", max: "30d" }), {
    default: "24h",
    usedBy: FANOUTS,
    about: "How long sessions and participations are kept.",
  }),
  offerRetentionMs: withDefault("OFFER_RETENTION", duration({ min: "1s", max: "30d" }), {
    default: "1h",
    usedBy: FANOUTS,
    about:
      "How long an offer is remembered after its end and its time limit: what is sent again has no second effect.",
  }),
  maxSessionsPerUser: withDefault("MAX_SESSIONS_PER_USER", integer({ min: 0, max: 10_000 }), {
    default: "20",
    usedBy: FANOUTS,
    about: "How many sessions a user may have at once, over all edges. 0: any number.",
  }),
  sessionLimitRule: withDefault("SESSION_LIMIT_RULE", oneOf("close_oldest", "refuse"), {
    default: "close_oldest",
    usedBy: FANOUTS,
    about:
      "What happens at MAX_SESSIONS_PER_USER: the user's oldest session is closed, or the new one refused.",
  }),
  maxRevocations: withDefault("MAX_REVOCATIONS", integer({ min: 1, max: 10_000_000 }), {
    default: "100000",
    usedBy: FANOUTS,
    about: "How many revocations are kept at once, in the store and in each fanout; more are refused.",
  }),
  directoryRebuildWindowMs: withDefault("DIRECTORY_REBUILD_WINDOW", duration({ min: "0s", max: "1d" }), {
    default: "10m",
    usedBy: FANOUTS,
    about:
      "After Redis lost its data: how long a participation that is not found is `unavailable`, not denied, while services grant again.",
  }),
  outboxMaxEvents: withDefault("OUTBOX_MAX_EVENTS", integer({ min: 1, max: 10_000_000 }), {
    default: "10000",
    usedBy: FANOUTS,
    about:
      "How many events may wait for Kafka in each of 128 partitions; more of those that must reach it are refused.",
  }),
};
