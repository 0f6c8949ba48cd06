/**
 * Finds the jars of a Kafka broker on the machine (`KAFKA_HOME`, or a cache folder of the user), or
 * fetches them with Maven into that cache folder. What runs them is `kafka.ts`.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CACHE_FOLDER, has } from "./redis-binary.js";

/** Kafka 4 brokers need Java 17. */
export const KAFKA_VERSION = "4.1.0";
const OLDEST_JAVA = 17;
const SLF4J_VERSION = "1.7.36";

const CACHED_JARS = join(CACHE_FOLDER, `kafka-${KAFKA_VERSION}`);

type Progress = (line: string) => void;

/** The class path of a Kafka that is already here, where a Java that can run it is here too. */
export function findKafkaClassPath(): string | undefined {
  if (javaMajor() < OLDEST_JAVA) return undefined;
  const home = process.env["KAFKA_HOME"];
  const folders = [...(home === undefined ? [] : [join(home, "libs")]), CACHED_JARS];
  const folder = folders.find((candidate) => existsSync(candidate) && readdirSync(candidate).some(isBroker));
  return folder === undefined ? undefined : join(folder, "*");
}

/** Fetches the jars (and, as root on Debian, Java and Maven); undefined where that is not possible. */
export async function fetchKafkaClassPath(progress: Progress): Promise<string | undefined> {
  if (javaMajor() < OLDEST_JAVA || !has("mvn")) installJavaAndMaven(progress);
  if (javaMajor() < OLDEST_JAVA || !has("mvn")) return undefined;
  progress(`Kafka: fetching jars of ${KAFKA_VERSION} with Maven into ${CACHED_JARS} …`);
  const work = `${CACHED_JARS}-download-${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    writeFileSync(join(work, "pom.xml"), POM);
    const jars = join(work, "jars");
    const goal = ["dependency:copy-dependencies", `-DoutputDirectory=${jars}`, "-DincludeScope=runtime"];
    const failure = await run("mvn", ["-B", "-q", "-f", join(work, "pom.xml"), ...goal]);
    if (failure !== undefined) {
      progress(`Kafka: Maven failed:\n${failure}`);
      return undefined;
    }
    // Renamed when complete, so that an interrupted download is never taken for a Kafka.
    rmSync(CACHED_JARS, { recursive: true, force: true });
    renameSync(jars, CACHED_JARS);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return findKafkaClassPath();
}

function isBroker(fileName: string): boolean {
  return /^kafka_2\.13-\d.*\.jar$/.test(fileName);
}

function javaMajor(): number {
  const answer = spawnSync("java", ["-version"], { encoding: "utf8" });
  const match = /version "(\d+)/.exec(answer.status === 0 ? answer.stderr : "");
  return Number(match?.[1] ?? 0);
}

function installJavaAndMaven(progress: Progress): void {
  if (process.getuid?.() !== 0 || !has("apt-get")) return;
  progress("Kafka: installing Java and Maven with apt-get …");
  const options = {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdio: "ignore",
  } as const;
  spawnSync("apt-get", ["update", "-q"], options);
  spawnSync(
    "apt-get",
    ["install", "-y", "-q", "--no-install-recommends", "default-jre-headless", "maven"],
    options,
  );
}

/** Runs without blocking the event loop; answers the output's end when it failed. */
function run(command: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => (output = (output + chunk).slice(-4_000)));
    }
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code) => resolve(code === 0 ? undefined : output));
  });
}

const dependency = (group: string, artifact: string, version: string) =>
  `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
${dependency("org.apache.kafka", "kafka_2.13", KAFKA_VERSION)}
${dependency("org.slf4j", "slf4j-api", SLF4J_VERSION)}
${dependency("org.slf4j", "slf4j-reload4j", SLF4J_VERSION)}
</dependencies>
</project>
`;
