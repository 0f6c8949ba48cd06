/** The memory broker: the contract, and how it forgets. */
import { describe, expect, it } from "vitest";
import { MemoryBroker, MemoryChannels } from "./broker-memory.js";
import { describeBroker } from "./broker.contract.js";
import { channelOf } from "./channel.js";
import { CHANNEL_KINDS, withUserTtl } from "./channel-kinds.js";
import { MAX_VERSIONED_SUBJECTS } from "./channel-limits.js";

describeBroker("the broker in memory", async () => {
  const channels = new MemoryChannels();
  const made: MemoryBroker[] = [];
  return {
    broker: async () => {
      const broker = new MemoryBroker({ channels });
      made.push(broker);
      return broker;
    },
    close: async () => {
      for (const broker of made) await broker.close();
    },
  };
});

describe("the broker in memory, as time passes", () => {
  const order = channelOf("app", "order", "1");
  const kind = CHANNEL_KINDS.get("order");
  const historyTtlMs = kind?.historyTtlMs ?? 0;
  const event = { eventId: "e", payload: Buffer.from("e"), idempotencyKey: "e" };

  function setUp(): { broker: MemoryBroker; channels: MemoryChannels; pass(ms: number): void } {
    let nowMs = 1_000_000;
    const channels = new MemoryChannels({ nowUs: () => nowMs * 1000 });
    return { broker: new MemoryBroker({ channels }), channels, pass: (ms) => (nowMs += ms) };
  }

  it("keeps the history for its lifetime after the last event, then begins a new epoch", async () => {
    const { broker, pass } = setUp();
    const first = await broker.publish(order, event);
    pass(historyTtlMs - 1);
    await broker.publish(order, { ...event, idempotencyKey: "e2" });
    pass(historyTtlMs - 1);
    expect((await broker.state(order)).position.offset).toBe(2);
    pass(1);
    expect((await broker.state(order)).position).toEqual({ epoch: "", offset: 0, tag: 0 });
    expect(await broker.history(order, { afterOffset: 0, limit: 10 })).toEqual([]);
    const again = await broker.publish(order, event);
    expect(again).toMatchObject({ outcome: "published", position: { offset: 1 } });
    expect(again).not.toHaveProperty("position.epoch", first.outcome === "published" && first.position.epoch);
  });

  it("keeps a user's channel for as long as is configured", async () => {
    let nowMs = 1_000_000;
    const channels = new MemoryChannels({ nowUs: () => nowMs * 1000 });
    const broker = new MemoryBroker({ channels, kinds: withUserTtl(historyTtlMs / 2) });
    const user = channelOf("app", "user", "u1");
    for (const channel of [user, order]) {
      await broker.publish(channel, event);
      await broker.update(channel, { key: "unread:c1", version: 1, payload: Buffer.from("1") });
    }
    const kept = async (channel = user): Promise<number[]> => {
      const { position, latest } = await broker.state(channel);
      return [position.offset, latest.length];
    };
    nowMs += historyTtlMs / 2 - 1;
    expect(await kept()).toEqual([1, 1]);
    nowMs += 1;
    expect(await kept()).toEqual([0, 0]);
    expect(await kept(order)).toEqual([1, 1]);
  });

  it("forgets a latest value after its lifetime, and takes any version then", async () => {
    const { broker, pass } = setUp();
    await broker.update(order, { key: "eta:1", version: 9, payload: Buffer.from("9") });
    pass(kind?.latestTtlMs ?? 0);
    expect((await broker.state(order)).latest).toEqual([]);
    await broker.update(order, { key: "eta:1", version: 1, payload: Buffer.from("1") });
    expect((await broker.state(order)).latest).toHaveLength(1);
  });

  it("forgets the version that was raised longest ago, where a channel has too many", async () => {
    const { broker } = setUp();
    const publish = async (subject: string, number: number) => {
      const key = `${subject} ${number}`;
      const versioned = { ...event, eventId: key, idempotencyKey: key, version: { subject, number } };
      return (await broker.publish(order, versioned)).outcome;
    };
    await publish("first", 2);
    await publish("second", 2);
    for (let index = 2; index < MAX_VERSIONED_SUBJECTS; index++) await publish(`${index}`, 2);
    await publish("first", 3);
    await publish("one more", 2);
    expect(await publish("first", 1)).toBe("stale");
    expect(await publish("second", 1)).toBe("published");
  });

  it("forgets channels that nobody touches any more", async () => {
    const { broker, channels, pass } = setUp();
    for (let index = 0; index < 100; index++)
      await broker.publish(channelOf("app", "order", `${index}`), event);
    expect(channels.size).toBe(100);
    pass(historyTtlMs + 60_000);
    await broker.publish(order, event);
    expect(channels.size).toBe(1);
  });
});
