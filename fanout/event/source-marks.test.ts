/** Two consumers of one topic, of which one froze and wakes up late: its writes are known by their source's mark. */
import { expect, it } from "vitest";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { gate, order, SILENT } from "#test/support/fanout-core.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { Publisher } from "#fanout/channel/publisher.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { Participations } from "#fanout/directory/participations.js";
import { SystemClock } from "#fanout/store-clock.js";
import { EventConsumer } from "./event-consumer.js";
import type { SourceRecord } from "./event-source.js";

const channel = order("42");

/** A process that consumes, on the stores of all; `before` is waited for before each publish. */
class Consumer {
  waits: Promise<void> = Promise.resolve();
  reached = 0;
  readonly consumer: EventConsumer;

  constructor(channels: MemoryChannels, directory: MemoryDirectory) {
    const broker = new UnreliableBroker(new MemoryBroker({ channels }));
    const publisher = new Publisher({ broker, clock: new SystemClock(), deliverLocally: () => undefined });
    const participations = new Participations({ directory, broker });
    this.consumer = new EventConsumer({
      publisher: {
        publish: async (request) => {
          this.reached += 1;
          await this.waits;
          return publisher.publish(request);
        },
      },
      participations,
      directory,
      chat: { say: () => Promise.reject(new Error("nothing is said")) },
      offers: { create: () => Promise.resolve("created"), withdraw: () => Promise.resolve() },
      logger: SILENT,
      now: Date.now,
    });
  }

  handle(number: number): Promise<void> {
    const event = {
      eventId: `event-${number}`,
      type: "order.status.changed",
      occurredAt: new Date(1_790_000_000_000 + number).toISOString(),
      data: { orderId: "42", status: `status ${number}` },
    };
    const record: SourceRecord = {
      topic: "order-events",
      partition: 3,
      offset: number,
      key: "42",
      value: Buffer.from(JSON.stringify(event)),
      headers: {},
    };
    return this.consumer.handle(record).run();
  }
}

async function statusesIn(channels: MemoryChannels): Promise<string[]> {
  const history = await new MemoryBroker({ channels }).history(channel, { afterOffset: 0, limit: 1000 });
  return history.map(({ payload }) => Event.decode(payload).id);
}

it("a frozen consumer cannot publish status 5 after its successor's 6", async () => {
  const channels = new MemoryChannels();
  const directory = new MemoryDirectory();
  const frozen = new Consumer(channels, directory);
  const successor = new Consumer(channels, directory);
  await frozen.handle(4);
  const thaw = gate();
  frozen.waits = thaw.opened;
  const late = frozen.handle(5);
  await expect.poll(() => frozen.reached).toBe(2);

  // So many that no answer of the first ones is kept any more: only the mark knows them.
  const kept = CHANNEL_KINDS.get("order")?.historySize ?? 0;
  for (let number = 5; number <= 6 + kept; number += 1) await successor.handle(number);
  const before = await statusesIn(channels);
  expect(before).not.toContain("event-5");
  expect(before.at(-1)).toBe(`event-${6 + kept}`);
  thaw.open();
  await late;
  expect(await statusesIn(channels)).toEqual(before);
  expect(frozen.consumer.counters).toMatchObject({ consumed: 2, published: 1, repeated: 1 });
});
