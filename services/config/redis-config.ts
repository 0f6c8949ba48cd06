/**
 * Resolves where Redis is: one of four ways, or none for state in the process. A detail without a way (a
 * password alone) is a fault, because it says that somebody meant a Redis.
 */
import type { RedisConnectionOptions } from "#fanout/redis/redis-clients.js";
import type { EnvironmentReader } from "./environment-reader.js";
import type { Variable } from "./variable.js";
import { redisVariables } from "./variables/redis.js";

const { url, host, clusterNodes, sentinels } = redisVariables;
const WAYS: readonly Variable[] = [url, host, clusterNodes, sentinels];
const DETAILS: readonly Variable[] = [
  redisVariables.port,
  redisVariables.database,
  redisVariables.username,
  redisVariables.password,
  redisVariables.tlsCa,
  redisVariables.sentinelName,
  redisVariables.sentinelPassword,
];

export function readRedis(reader: EnvironmentReader): RedisConnectionOptions | undefined {
  const options: RedisConnectionOptions = { ...readWay(reader), ...readDetails(reader) };
  const given = WAYS.filter((variable) => reader.isSet(variable));
  const [first, second] = given;
  if (first === undefined) {
    for (const detail of DETAILS.filter((variable) => reader.isChanged(variable))) {
      reader.fault(detail, `is set, but none of ${namesOf(WAYS)} says which Redis it is for`);
    }
    return undefined;
  }
  if (second !== undefined)
    reader.fault(second, `is set beside ${first.name}: set only one of ${namesOf(WAYS)}`);
  return options;
}

function readWay(reader: EnvironmentReader): RedisConnectionOptions {
  const address = reader.get(url);
  const name = reader.get(host);
  // Read in any case: a port that cannot be one is a fault wherever it stands.
  const port = reader.get(redisVariables.port);
  const nodes = reader.get(clusterNodes);
  return {
    ...(address !== undefined && { url: address }),
    ...(name !== undefined && { host: name, port }),
    ...(nodes !== undefined && { clusterNodes: nodes }),
    ...readSentinels(reader),
  };
}

function readSentinels(reader: EnvironmentReader): RedisConnectionOptions {
  const { sentinelName } = redisVariables;
  const addresses = reader.get(sentinels);
  const name = reader.get(sentinelName);
  const password = reader.get(redisVariables.sentinelPassword);
  if (addresses === undefined) return {};
  if (!reader.isSet(sentinelName)) reader.fault(sentinelName, `must be set with ${sentinels.name}`);
  return {
    sentinels: addresses,
    ...(name !== undefined && { sentinelName: name }),
    ...(password !== undefined && { sentinelPassword: password }),
  };
}

function readDetails(reader: EnvironmentReader): RedisConnectionOptions {
  const username = reader.get(redisVariables.username);
  const password = reader.get(redisVariables.password);
  const ca = reader.get(redisVariables.tlsCa);
  const db = reader.get(redisVariables.database);
  if (db !== 0 && reader.isSet(clusterNodes)) {
    reader.fault(redisVariables.database, "must be 0: a Redis Cluster has no other database");
  }
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(ca !== undefined && { tls: { ca } }),
    // Left out where it says nothing, so that the database in REDIS_URL counts.
    ...(db !== 0 && { db }),
  };
}

function namesOf(variables: readonly Variable[]): string {
  return variables.map(({ name }) => name).join(", ");
}
