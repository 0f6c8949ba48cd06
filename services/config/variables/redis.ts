/** The variables that say where Redis is. None of them set: state is kept in the process. */
import { hostsAndPorts, integer, pemFile, port, text, url } from "../value-kind.js";
import { FANOUTS, optional, withDefault } from "../variable.js";

export const redisVariables = {
  url: optional("REDIS_URL", url("redis", "rediss"), {
    unset: "state is kept in this process, where no other variable names a Redis",
    usedBy: FANOUTS,
    secret: true,
    about: "A single Redis (7 or newer): `redis://user:password@host:6379/0`, `rediss://` for TLS.",
  }),
  host: optional("REDIS_HOST", text("a host name or an address", /^[\w.:-]{1,253}$/), {
    unset: "see REDIS_URL",
    usedBy: FANOUTS,
    about: "A single Redis, instead of REDIS_URL.",
  }),
  port: withDefault("REDIS_PORT", port, {
    default: "6379",
    usedBy: FANOUTS,
    about: "Its port.",
  }),
  username: optional("REDIS_USERNAME", text(), {
    unset: "the one in REDIS_URL, or none",
    usedBy: FANOUTS,
    about: "The user at Redis, Cluster or what Sentinel guards.",
  }),
  password: optional("REDIS_PASSWORD", text(), {
    unset: "the one in REDIS_URL, or none",
    usedBy: FANOUTS,
    secret: true,
    about: "Its password.",
  }),
  database: withDefault("REDIS_DB", integer({ min: 0, max: 1023 }), {
    default: "0",
    usedBy: FANOUTS,
    about: "The number of the database; a Cluster has 0 only.",
  }),
  tlsCa: optional("REDIS_TLS_CA_FILE", pemFile, {
    unset: "no TLS, except by rediss:// with the system's authorities",
    usedBy: FANOUTS,
    about: "The authority of Redis's certificate; turns TLS on.",
  }),
  clusterNodes: optional("REDIS_CLUSTER_NODES", hostsAndPorts, {
    unset: "no Cluster",
    usedBy: FANOUTS,
    about: "Some nodes of a Redis Cluster, `host:port,host:port`.",
  }),
  sentinels: optional("REDIS_SENTINELS", hostsAndPorts, {
    unset: "no Sentinel",
    usedBy: FANOUTS,
    about: "The sentinels, `host:port,host:port`.",
  }),
  sentinelName: optional("REDIS_SENTINEL_NAME", text("a name", /^[\w.-]{1,128}$/), {
    unset: "needed with REDIS_SENTINELS",
    usedBy: FANOUTS,
    about: "What the sentinels call the Redis that they guard.",
  }),
  sentinelPassword: optional("REDIS_SENTINEL_PASSWORD", text(), {
    unset: "the sentinels ask for none",
    usedBy: FANOUTS,
    secret: true,
    about: "The sentinels' own password.",
  }),
};
