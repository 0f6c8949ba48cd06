import { randomUUID } from "node:crypto";
import { expect, inject, it } from "vitest";
import { waitFor } from "#test/support/wait-for.js";
import { ApiRing, ApiWriter } from "../api-writer.js";
import { Device } from "../device.js";
import { missing } from "../verdict.js";
import { MessageDropper } from "../message-dropper.js";
import { fullOrShort, runScenario } from "../scenario.js";

const ORDERS = fullOrShort(20, 8);
const SWEPT_WITHIN_MS = 15_000;

it("the last message of a channel that a follower's pub/sub lost is delivered within 15 s", async () => {
  const dropper = await MessageDropper.before(inject("redisUrl"));
  const writers: ApiWriter[] = [];
  try {
    await runScenario({
      name: "the last pub/sub message of a channel lost",
      cluster: { fanouts: 2 },
      prepare: async ({ cluster, ledger, random, stopping }) => {
        await cluster.fanouts[1]?.stop();
        await cluster.startFanout(1, { REDIS_URL: dropper.url });
        await waitFor(async () => (await cluster.readyLinks()).every((links) => links === 2), {
          what: "links to both fanouts",
          timeoutMs: 15_000,
        });
        const ring = new ApiRing(cluster);
        for (let index = 0; index < ORDERS; index += 1) {
          const [id, name] = [randomUUID(), `quiet-${index}`];
          const channel = `order:${id}`;
          await cluster.grant(id, { [name]: "OWNER" });
          const device = new Device({
            ...{ name, random, tellsPositions: true, record: ledger.reader(name) },
            token: await cluster.token(name, "customer"),
            framing: index % 2 === 0 ? "json" : "protobuf",
            edges: () => cluster.edges.map((_, edge) => cluster.socketUrl(edge)),
          });
          stopping.push(() => device.stop());
          await device.open();
          await device.follow(channel);
          // Always through the other fanout: one that publishes knows of its own event.
          const apis = { size: 1, at: () => ring.at(0), suspectUntilMs: new Map<number, number>() };
          const given = { apis, ledger, random, app: cluster.app, deadlineMs: 5000 };
          writers.push(new ApiWriter({ ...given, channel, readers: new Set([name]), name: `last-${index}` }));
          dropper.drop(`last-${index}-1`);
        }
      },
      fault: async ({ ledger, notes }) => {
        for (const writer of writers) writer.write();
        await Promise.all(writers.map((writer) => writer.settled()));
        await waitFor(() => !missing(ledger).some(({ reader }) => reader.startsWith("quiet")), {
          what: "everybody's last event",
          timeoutMs: SWEPT_WITHIN_MS + 5000,
          pollMs: 100,
        }).catch(() => undefined); // The verdict says what is missing.
        notes.push(`${dropper.dropped} messages dropped`);
        expect(dropper.dropped).toBeGreaterThan(0);
      },
      allowed: { pauseMs: SWEPT_WITHIN_MS },
    });
  } finally {
    dropper.close();
  }
});
