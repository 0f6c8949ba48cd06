/**
 * Starts a real Kafka broker for tests: one KRaft node on free ports, in a temporary folder. The
 * shared one of a test run comes from `inject("kafkaBrokers")`; start your own (some seconds, half
 * a gigabyte) only where the test kills, freezes or restarts it.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { freePorts } from "./free-port.js";
import type { ProcessExit } from "./guarded-process.js";
import { GuardedProcess } from "./guarded-process.js";
import { fetchKafkaClassPath, findKafkaClassPath } from "./kafka-jars.js";
import { temporaryFolder } from "./reaper.js";
import { waitFor, within } from "./wait-for.js";

const START_TIMEOUT_MS = 90_000;

export interface RunningKafka {
  /** `host:port`, as `KAFKA_BROKERS` wants it. */
  readonly brokers: string;
  readonly pid: number;
  readonly process: GuardedProcess;
  /** Ends it at once; its data are gone at the end of the test run. */
  kill(): Promise<ProcessExit>;
  /** Starts it again after `kill`, on the same port with the same data. */
  restart(): Promise<RunningKafka>;
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void;
  thaw(): void;
}

export async function startKafka(progress: (line: string) => void = () => undefined): Promise<RunningKafka> {
  const classPath = findKafkaClassPath() ?? (await fetchKafkaClassPath(progress));
  if (classPath === undefined) {
    throw new Error("no Kafka: install Java 17 or newer and Maven, or set KAFKA_HOME or TEST_KAFKA_BROKERS");
  }
  const folder = temporaryFolder("kafka");
  const ports = await freePorts("broker", "controller");
  writeFileSync(join(folder, "server.properties"), propertiesText(brokerSettings(folder, ports)));
  writeFileSync(join(folder, "log4j.properties"), propertiesText(LOG_SETTINGS));
  await formatStorage(folder, classPath);
  return run({ folder, classPath, brokers: `127.0.0.1:${ports.broker}` });
}

interface Broker {
  readonly folder: string;
  readonly classPath: string;
  readonly brokers: string;
}

async function run(broker: Broker): Promise<RunningKafka> {
  const kafka = java(broker, ["-Xms128m", "-Xmx512m"], "kafka.Kafka", ["server.properties"]);
  try {
    await waitUntilItServes(kafka, broker.brokers);
  } catch (error) {
    await kafka.kill();
    throw error;
  }
  return {
    brokers: broker.brokers,
    pid: kafka.pid,
    process: kafka,
    kill: () => kafka.kill(),
    restart: () => run(broker),
    freeze: () => kafka.signal("SIGSTOP"),
    thaw: () => kafka.signal("SIGCONT"),
  };
}

/** A broker that listens is not yet one that serves: it is asked for its topics and for a group's coordinator. */
async function waitUntilItServes(kafka: GuardedProcess, brokers: string): Promise<void> {
  const client = new Kafka({
    clientId: "test-set-up",
    brokers: brokers.split(","),
    logLevel: logLevel.NOTHING,
    connectionTimeout: 1_000,
    requestTimeout: 5_000,
    retry: { retries: 0 },
  });
  const served = async (): Promise<boolean> => {
    if (kafka.exit !== undefined) return true;
    const admin = client.admin();
    try {
      await admin.connect();
      await admin.listTopics();
      // The first question for a coordinator makes the offsets topic; tests should not wait for that.
      await admin.describeGroups(["test-set-up"]);
      return true;
    } finally {
      await admin.disconnect();
    }
  };
  const what = `Kafka to serve on ${brokers}`;
  await waitFor(served, { what, timeoutMs: START_TIMEOUT_MS, pollMs: 200 }).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${kafka.tail()}`, { cause: error });
  });
  kafka.assertRunning();
}

async function formatStorage(folder: string, classPath: string): Promise<void> {
  const clusterId = randomBytes(16).toString("base64url");
  const args = ["format", `--cluster-id=${clusterId}`, "-c", "server.properties"];
  const tool = java({ folder, classPath }, ["-Xmx128m"], "kafka.tools.StorageTool", args);
  const exit = await within(tool.exited, 60_000);
  if (exit.code !== 0) throw new Error(`formatting Kafka's storage failed:\n${tool.tail()}`);
}

function java(
  where: { readonly folder: string; readonly classPath: string },
  memory: readonly string[],
  mainClass: string,
  args: readonly string[],
): GuardedProcess {
  // The quick compiler and the small collector: a test broker lives for minutes, on few cores.
  const virtualMachine = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", ...memory];
  const log = `-Dlog4j.configuration=file:${join(where.folder, "log4j.properties")}`;
  return new GuardedProcess({
    name: mainClass,
    command: "java",
    args: [...virtualMachine, log, "-cp", where.classPath, mainClass, ...args],
    env: { PATH: process.env["PATH"] ?? "", HOME: where.folder },
    cwd: where.folder,
  });
}

function brokerSettings(folder: string, ports: { broker: number; controller: number }) {
  return {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.quorum.voters": `1@127.0.0.1:${ports.controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${ports.broker},CONTROLLER://127.0.0.1:${ports.controller}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${ports.broker}`,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "log.dirs": join(folder, "data"),
    "num.partitions": 3,
    "default.replication.factor": 1,
    "min.insync.replicas": 1,
    "offsets.topic.num.partitions": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1_000,
    "log.cleaner.dedupe.buffer.size": 4_194_304,
  };
}

const LOG_SETTINGS = {
  "log4j.rootLogger": "WARN, stdout",
  "log4j.appender.stdout": "org.apache.log4j.ConsoleAppender",
  "log4j.appender.stdout.layout": "org.apache.log4j.PatternLayout",
  "log4j.appender.stdout.layout.ConversionPattern": "%d %p %c %m%n",
};

function propertiesText(settings: Readonly<Record<string, string | number>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}
