/**
 * Refuses a Redis that cannot be used: too old, or whose keys were laid out by another version of this
 * gateway or for another number of partitions. The first gateway that comes to an empty Redis signs it.
 */
import { SCHEMA_KEY, SCHEMA_VERSION } from "./keys.js";
import { PARTITION_COUNT } from "./partitions.js";
import type { RedisClient } from "./redis-clients.js";

const OLDEST_MAJOR_VERSION = 7;

/** @throws Error that says what is wrong and what to do. */
export async function checkSchema(client: RedisClient): Promise<void> {
  const version = /^redis_version:(\S+)/m.exec(await client.info("server"))?.[1] ?? "unknown";
  if (!(Number.parseInt(version, 10) >= OLDEST_MAJOR_VERSION)) {
    throw new Error(`its version is ${version}; ${OLDEST_MAJOR_VERSION} or newer is needed`);
  }
  const mine = `version=${SCHEMA_VERSION} partitions=${PARTITION_COUNT}`;
  const found = await client.set(SCHEMA_KEY, mine, "NX", "GET");
  if (found !== null && found !== mine) {
    throw new Error(
      `its keys were written with ${found}, this release needs ${mine}; use another database or empty it`,
    );
  }
}
