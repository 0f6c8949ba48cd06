import { it } from "vitest";
import { startKafka } from "#test/support/kafka.js";
import { waitFor } from "#test/support/wait-for.js";
import { fullOrShort, runScenario } from "../scenario.js";
import { acknowledgedOfApps, readTopic, topicFaults } from "../topic-contents.js";

const STOPPED_MS = fullOrShort(30_000, 8000);
const TYPE = "checked";
const TOPIC = "custom-events";
/** From Kafka's return on. */
const DRAINED_WITHIN_MS = 60_000;

it("Kafka stopped while events that must reach it go on: nothing is lost, and it gets them in order after", async () => {
  let kafka = await startKafka();
  try {
    await runScenario({
      name: `Kafka stopped for ${STOPPED_MS / 1000} s`,
      cluster: {
        kafkaBrokers: kafka.brokers,
        env: { OUTBOX_CUSTOM_TYPES: TYPE, KAFKA_CUSTOM_TOPIC: TOPIC },
      },
      load: { clientShare: 1, clientType: TYPE },
      fault: async ({ cluster, ledger, pause, notes, breaches, finishing }) => {
        await kafka.kill();
        await pause(STOPPED_MS);
        kafka = await kafka.restart();
        const backMs = performance.now();
        finishing.push(async () => {
          const expected = acknowledgedOfApps(ledger);
          const eventIds = new Set(expected.map(({ eventId }) => eventId));
          const records = await readTopic(kafka.brokers, TOPIC, { eventIds, timeoutMs: DRAINED_WITHIN_MS });
          breaches.push(...topicFaults(records, expected).slice(0, 20));
          const tookS = ((performance.now() - backMs) / 1000).toFixed(1);
          const repeats = records.length - new Set(records.map(({ eventId }) => eventId)).size;
          notes.push(
            `${expected.length} events in Kafka ${tookS} s after its return, ${repeats} of them again`,
          );
          await waitFor(async () => (await waiting()) === 0, {
            what: "an empty outbox",
            timeoutMs: DRAINED_WITHIN_MS,
            pollMs: 100,
          });
        });
        const waiting = async (): Promise<number> => {
          const counts = await Promise.all(
            cluster.fanouts.map((fanout) => cluster.metric(fanout, "realtime_outbox_events")),
          );
          return counts.reduce((sum, count) => sum + count, 0);
        };
      },
      allowed: { pauseMs: 2000 },
    });
  } finally {
    await kafka.kill();
  }
});
