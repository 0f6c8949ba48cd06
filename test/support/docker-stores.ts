/**
 * Redis and Kafka for tests out of this repository's `docker-compose.yml`, where a Docker engine
 * answers: a project of its own name, on free ports, removed with its volumes at the end.
 */
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { freePorts } from "./free-port.js";
import type { Part } from "./provided-context.js";

const COMPOSE_FILE = fileURLToPath(new URL("../../docker-compose.yml", import.meta.url));

export interface DockerStores {
  readonly redisUrl: string;
  readonly kafkaBrokers: string;
  stop(): void;
}

/** Whether an engine answers and knows Compose. */
export function dockerAnswers(): boolean {
  const quiet = { stdio: "ignore", timeout: 10_000 } as const;
  const engine = spawnSync("docker", ["info"], quiet).status === 0;
  return engine && spawnSync("docker", ["compose", "version"], quiet).status === 0;
}

/** Starts the named parts and waits for their health checks; undefined where Compose fails. */
export async function startDockerStores(
  parts: readonly Part[],
  progress: (line: string) => void,
): Promise<DockerStores | undefined> {
  const ports = await freePorts("redis", "kafka");
  // Compose wants every variable of the file, also of services that are not started.
  const secret = () => randomBytes(32).toString("hex");
  const env = {
    ...process.env,
    REDIS_HOST_PORT: String(ports.redis),
    KAFKA_HOST_PORT: String(ports.kafka),
    JWT_SOCKET_SECRET: secret(),
    LINK_TOKEN: secret(),
    API_TOKENS: secret(),
  };
  const project = `realtime-gateway-test-${process.pid}`;
  const compose = (...args: string[]) =>
    spawnSync("docker", ["compose", "-f", COMPOSE_FILE, "-p", project, ...args], { env, encoding: "utf8" });
  const stop = () => {
    compose("down", "--volumes", "--timeout", "1");
  };
  progress(`${parts.join(" and ")}: starting with Docker Compose …`);
  const up = compose("up", "-d", "--wait", ...parts.map((part) => part.toLowerCase()));
  if (up.status !== 0) {
    progress(`Docker Compose failed:\n${up.stderr.slice(-2_000)}`);
    stop();
    return undefined;
  }
  return {
    redisUrl: `redis://127.0.0.1:${ports.redis}`,
    kafkaBrokers: `127.0.0.1:${ports.kafka}`,
    stop,
  };
}
