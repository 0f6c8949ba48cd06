/**
 * The Redis and the Kafka that all test files of one run share, started at most once and only where
 * a file of the run needs them. Tried in this order: the environment, what is on the machine, Docker
 * Compose, the package manager and Maven.
 */
import { connect } from "node:net";
import { dockerAnswers, startDockerStores } from "./docker-stores.js";
import { startKafka } from "./kafka.js";
import { findKafkaClassPath } from "./kafka-jars.js";
import type { Part } from "./provided-context.js";
import { startRedis } from "./redis.js";
import { findRedisBinary } from "./redis-binary.js";

export interface SharedStores {
  readonly redisUrl: string | undefined;
  readonly kafkaBrokers: string | undefined;
  stop(): Promise<void>;
}

const FROM_ENVIRONMENT: Readonly<Record<Part, string>> = {
  Redis: "TEST_REDIS_URL",
  Kafka: "TEST_KAFKA_BROKERS",
};

type Progress = (line: string) => void;
type Cleanup = () => unknown;

export async function startSharedStores(parts: readonly Part[], progress: Progress): Promise<SharedStores> {
  const cleanups: Cleanup[] = [];
  const addresses = new Map<Part, string>();
  for (const part of parts) {
    const given = process.env[FROM_ENVIRONMENT[part]];
    if (!given) continue;
    await assertReachable(part, given);
    addresses.set(part, given);
  }
  const notHere = parts.filter((part) => !addresses.has(part) && !isOnMachine(part));
  if (notHere.length > 0 && dockerAnswers()) {
    const stores = await startDockerStores(notHere, progress);
    if (stores !== undefined) {
      cleanups.push(stores.stop);
      for (const part of notHere)
        addresses.set(part, part === "Redis" ? stores.redisUrl : stores.kafkaBrokers);
    }
  }
  await Promise.all(
    parts
      .filter((part) => !addresses.has(part))
      .map(async (part) => {
        const address = await startProcess(part, cleanups, progress);
        if (address !== undefined) addresses.set(part, address);
      }),
  );
  return {
    redisUrl: addresses.get("Redis"),
    kafkaBrokers: addresses.get("Kafka"),
    stop: async () => {
      for (const cleanup of cleanups.reverse()) await cleanup();
    },
  };
}

/** What the environment names must be there: falling back in silence would test something else. */
async function assertReachable(part: Part, given: string): Promise<void> {
  const address = given.includes("://") ? given : `kafka://${given.split(",")[0] ?? ""}`;
  const { hostname, port } = new URL(address);
  const reached = await new Promise<boolean>((resolve) => {
    const socket = connect({ host: hostname, port: Number(port || "6379"), timeout: 5_000 });
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => finish(true));
    socket.once("timeout", () => finish(false));
    socket.once("error", () => finish(false));
  });
  if (!reached)
    throw new Error(`${FROM_ENVIRONMENT[part]} is set, but nothing answers at ${hostname}:${port}`);
}

function isOnMachine(part: Part): boolean {
  return (part === "Redis" ? findRedisBinary() : findKafkaClassPath()) !== undefined;
}

/** Starts the part as a process, fetching it first where it is not here; undefined when it is not to be had. */
async function startProcess(
  part: Part,
  cleanups: Cleanup[],
  progress: Progress,
): Promise<string | undefined> {
  const startedAt = performance.now();
  try {
    progress(`${part}: starting …`);
    const [address, kill] = await (part === "Redis" ? redisProcess() : kafkaProcess(progress));
    cleanups.push(kill);
    progress(`${part}: ready at ${address} after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
    return address;
  } catch (error) {
    progress(`${part}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

async function redisProcess(): Promise<[string, Cleanup]> {
  const redis = await startRedis();
  return [redis.url, () => redis.kill()];
}

async function kafkaProcess(progress: Progress): Promise<[string, Cleanup]> {
  const kafka = await startKafka(progress);
  return [kafka.brokers, () => kafka.kill()];
}
