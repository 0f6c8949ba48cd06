/** The revocation log on a real Kafka: what is appended comes back, to whoever reads and from the beginning. */
import { randomUUID } from "node:crypto";
import { ConfigResourceTypes, Kafka, logLevel } from "kafkajs";
import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { KafkaEventSink } from "#fanout/event/event-sink-kafka.js";
import { SILENT } from "#test/support/fanout-core.js";
import type { Revocation } from "./revocation.js";
import { KafkaRevocationLog } from "./revocation-log-kafka.js";

const connection = { brokers: inject("kafkaBrokers").split(","), clientId: "realtime-gateway-test" };
const SOON_MS = Date.now() + 3_600_000;
const WAIT = { timeout: 30_000, interval: 50 };

const ofToken = (id: string): Revocation => {
  return { app: "default", subject: "token", id, issuedBeforeMs: 0, expiresAtMs: SOON_MS };
};

describe("the revocation log on Kafka", { timeout: 90_000 }, () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function logOn(topic: string, reads = true) {
    const sink = new KafkaEventSink({ connection, logger: SILENT });
    await sink.start();
    const log = new KafkaRevocationLog({
      connection,
      sink,
      topic,
      groupId: `group-${randomUUID()}`,
      reads,
      maxTokenLifetimeMs: 3_600_000,
      logger: SILENT,
    });
    const heard: Revocation[] = [];
    await log.start((revocations) => heard.push(...revocations));
    closing.push(async () => {
      await log.stop();
      await sink.close();
    });
    return { log, sink, heard };
  }

  it("gives everybody who reads all that was appended, before and after, and says when it has", async () => {
    const topic = `revocations-${randomUUID()}`;
    const first = await logOn(topic);
    await vi.waitFor(() => expect(first.log.isCaughtUp()).toBe(true), WAIT);
    await first.log.append([ofToken("t1"), ofToken("t2")]);
    await vi.waitFor(() => expect(first.heard).toEqual([ofToken("t1"), ofToken("t2")]), WAIT);

    const second = await logOn(topic);
    await vi.waitFor(() => expect(second.log.isCaughtUp()).toBe(true), WAIT);
    expect(second.heard).toEqual([ofToken("t1"), ofToken("t2")]);
    await second.log.append([ofToken("t3")]);
    for (const { heard } of [first, second]) {
      await vi.waitFor(() => expect(heard.at(-1)).toEqual(ofToken("t3")), WAIT);
    }
  });

  it("passes over what cannot be read, and what is emptied for its key", async () => {
    const topic = `revocations-${randomUUID()}`;
    const { log, sink, heard } = await logOn(topic);
    await vi.waitFor(() => expect(log.isCaughtUp()).toBe(true), WAIT);
    const value = (text: string) => ({ topic, key: "k", value: Buffer.from(text), headers: {} });
    await sink.send([value("no envelope"), value(""), value('{"eventId":"e","type":"token.revoked"}')]);
    await log.append([ofToken("t1")]);
    await vi.waitFor(() => expect(heard).toEqual([ofToken("t1")]), WAIT);
    expect(log.unreadable).toBe(2);
  });

  it("makes its topic so that every revocation is kept as long as any token lives", async () => {
    const topic = `revocations-${randomUUID()}`;
    const { log } = await logOn(topic);
    await vi.waitFor(() => expect(log.isCaughtUp()).toBe(true), WAIT);
    const admin = new Kafka({ ...connection, logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    closing.push(() => admin.disconnect());
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
    });
    const entries = resources[0]?.configEntries ?? [];
    const config = Object.fromEntries(
      entries.map(({ configName, configValue }) => [configName, configValue]),
    );
    expect(config).toMatchObject({ "cleanup.policy": "compact,delete", "retention.ms": "90000000" });
  });

  it("ends at once where nothing comes", async () => {
    const { log } = await logOn(`revocations-${randomUUID()}`);
    await vi.waitFor(() => expect(log.isCaughtUp()).toBe(true), WAIT);
    const startedAtMs = performance.now();
    await log.stop();
    expect(performance.now() - startedAtMs).toBeLessThan(3_000);
  });

  it("only appends where it is not to read", async () => {
    const topic = `revocations-${randomUUID()}`;
    const reader = await logOn(topic);
    const writer = await logOn(topic, false);
    await vi.waitFor(() => expect(reader.log.isCaughtUp()).toBe(true), WAIT);
    await writer.log.append([ofToken("t1")]);
    await vi.waitFor(() => expect(reader.heard).toHaveLength(1), WAIT);
    expect([writer.heard, writer.log.isCaughtUp()]).toEqual([[], false]);
  });
});
