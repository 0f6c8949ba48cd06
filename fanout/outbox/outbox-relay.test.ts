import { beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { SinkRecord } from "#fanout/event/event-sink.js";
import { LEASE_COUNT, leaseOf, type Outbox } from "./outbox.js";
import { LEASE_MS } from "./outbox-leases.js";
import { MemoryOutbox, MemoryOutboxEntries } from "./outbox-memory.js";
import { OutboxRelay } from "./outbox-relay.js";

const logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
const away = new GatewayError("unavailable", "the event bus is away");
const tooLarge = new GatewayError("payload_too_large", "too much for one batch");

function ignore(): void {
  // Tests look at what arrives, not at the log.
}

/** Takes, refuses or holds back what it is given; `arrived` is what other services would read. */
class FakeSink {
  readonly attempts: string[][] = [];
  readonly arrived: SinkRecord[] = [];
  /** Whether the records have arrived when it fails: the outcome of a failure is unknown. */
  arrivesBeforeFailing = false;
  refuse: (records: readonly SinkRecord[]) => GatewayError | undefined = () => undefined;
  #gate: Promise<void> = Promise.resolve();
  atOnce = 0;
  mostAtOnce = 0;

  async send(records: readonly SinkRecord[]): Promise<void> {
    this.attempts.push(records.map(idOf));
    this.atOnce += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce);
    await this.#gate;
    this.atOnce -= 1;
    const error = this.refuse(records);
    if (error === undefined || this.arrivesBeforeFailing) this.arrived.push(...records);
    if (error !== undefined) throw error;
  }

  /** Holds back everything until the returned function is called. */
  freeze(): () => void {
    let open = ignore;
    this.#gate = new Promise((resolve) => (open = resolve));
    return () => open();
  }
}

const idOf = (record: SinkRecord): string => record.headers["event-id"] ?? "";

/** Everything in its order of first occurrence, by key. */
function firstsByKey(records: readonly SinkRecord[]): Record<string, string[]> {
  const byKey: Record<string, string[]> = {};
  for (const record of records) {
    const ids = (byKey[record.key] ??= []);
    if (!ids.includes(idOf(record))) ids.push(idOf(record));
  }
  return byKey;
}

describe("the outbox relay", () => {
  let nowMs: number;
  let entries: MemoryOutboxEntries;
  let sink: FakeSink;

  beforeEach(() => {
    nowMs = 1_000_000;
    entries = new MemoryOutboxEntries({ nowUs: () => nowMs * 1000 });
    sink = new FakeSink();
  });

  function relayOf(holder: string, outbox: Outbox = new MemoryOutbox(entries)): OutboxRelay {
    return new OutboxRelay({ outbox, sink, logger, holder, nowMs: () => nowMs, random: () => 0 });
  }

  async function ready(holder = "a", outbox?: Outbox): Promise<OutboxRelay> {
    const relay = relayOf(holder, outbox);
    for (let lease = 0; lease < LEASE_COUNT; lease++) await relay.tick();
    await atRest(relay);
    return relay;
  }

  /** News and lanes run in microtasks: after a turn of the event loop all of them have begun. */
  async function atRest(relay: OutboxRelay): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    await relay.settled();
  }

  async function pass(relay: OutboxRelay, ms: number): Promise<void> {
    for (const endMs = nowMs + ms; nowMs < endMs;) {
      nowMs = Math.min(endMs, nowMs + 200);
      await relay.tick();
      await atRest(relay);
    }
  }

  function add(eventId: string, more: { key?: string; partition?: number; payload?: Uint8Array } = {}): void {
    const { key = "k", partition = 0 } = more;
    const event = Event.fromPartial({ id: eventId });
    event.body = { $case: "chatDeleted", value: { messageId: eventId } };
    const payload = more.payload ?? Event.encode(event).finish();
    const channel = `default/conversation:${key}`;
    const place = { channel, epoch: "e", offset: 1, timeMs: nowMs };
    entries.add(partition, { topic: "chat-events", key, eventId, payload, ...place });
  }

  const waitingIn = (partition: number): number => entries.count(partition);

  it("relays what was published at once, without a tick, and removes it", async () => {
    const relay = await ready();
    add("1", { partition: 3 });
    add("2", { partition: 127 });
    await atRest(relay);
    expect(sink.arrived.map(idOf).sort()).toEqual(["1", "2"]);
    expect([waitingIn(3), waitingIn(127)]).toEqual([0, 0]);
    expect(relay.counters).toEqual({ relayed: 2, failures: 0, deadLetters: 0, discarded: 0 });
  });

  it("relays what was published before it came, all of it, in order", async () => {
    for (let index = 0; index < 250; index++) add(`${index}`, { key: `k${index % 3}` });
    const relay = await ready();
    expect(sink.arrived.map(idOf)).toEqual(Array.from({ length: 250 }, (_, index) => `${index}`));
    expect(sink.attempts.map(({ length }) => length)).toEqual([100, 100, 50]);
    expect(relay.counters.relayed).toBe(250);
  });

  it("sends the same again before anything later, with growing pauses, and blocks no other partition", async () => {
    const relay = await ready();
    sink.refuse = (records) => (records.some(({ key }) => key === "bad") ? away : undefined);
    add("1", { key: "bad" });
    await atRest(relay);
    add("2", { key: "bad" });
    add("3", { key: "good", partition: 1 });
    await atRest(relay);
    expect(sink.attempts).toEqual([["1"], ["3"]]);
    await pass(relay, 2_000);
    const tries = sink.attempts.filter(([first]) => first === "1").length;
    expect(tries).toBeGreaterThanOrEqual(3);
    expect(tries).toBeLessThanOrEqual(6);
    expect(relay.counters.failures).toBe(tries);
    sink.refuse = () => undefined;
    await pass(relay, 5_000);
    expect(sink.attempts.at(-1)).toEqual(["1", "2"]);
    expect(firstsByKey(sink.arrived)).toEqual({ bad: ["1", "2"], good: ["3"] });
    expect(waitingIn(0)).toBe(0);
  });

  it("repeats, but never reorders, what had arrived although sending failed", async () => {
    const relay = await ready();
    sink.refuse = () => away;
    sink.arrivesBeforeFailing = true;
    for (let index = 0; index < 5; index++) add(`${index}`);
    await atRest(relay);
    sink.refuse = () => undefined;
    add("5");
    await pass(relay, 5_000);
    expect(sink.arrived.length).toBeGreaterThan(6);
    expect(firstsByKey(sink.arrived)).toEqual({ k: ["0", "1", "2", "3", "4", "5"] });
  });

  it("finds within a sweep what news were lost of", async () => {
    const outbox = new MemoryOutbox(entries);
    outbox.listen = async () => undefined;
    const relay = await ready("a", outbox);
    add("1");
    await atRest(relay);
    expect(sink.attempts).toEqual([]);
    await pass(relay, 2_000);
    expect(sink.arrived.map(idOf)).toEqual(["1"]);
  });

  it("listens again after it could not", async () => {
    const outbox = new MemoryOutbox(entries);
    const listen = outbox.listen.bind(outbox);
    outbox.listen = async () => Promise.reject(away);
    const relay = await ready("a", outbox);
    outbox.listen = listen;
    await pass(relay, 200);
    add("1");
    await atRest(relay);
    expect(sink.arrived.map(idOf)).toEqual(["1"]);
  });

  it("stops where its lease was lost while it waited to try again, and the next one goes on", async () => {
    const relay = await ready("a");
    sink.refuse = () => away;
    add("1");
    await atRest(relay);
    // Frozen for as long as a lease lasts; another relay takes over.
    nowMs += LEASE_MS;
    sink.refuse = () => undefined;
    const successor = await ready("b");
    expect(sink.arrived.map(idOf)).toEqual(["1"]);
    sink.attempts.length = 0;
    await pass(relay, 1_000);
    add("2");
    await atRest(relay);
    await atRest(successor);
    expect([relay.leases, successor.leases]).toEqual([0, LEASE_COUNT]);
    expect(sink.attempts).toEqual([["2"]]);
  });

  it("does not send what it had read when its lease was over before it could", async () => {
    const outbox = new MemoryOutbox(entries);
    const read = outbox.read.bind(outbox);
    outbox.read = async (...args) => {
      const page = await read(...args);
      if (page.entries.length > 0) nowMs += LEASE_MS;
      return page;
    };
    const relay = await ready("a", outbox);
    add("1");
    await atRest(relay);
    expect(sink.attempts).toEqual([]);
    expect(waitingIn(0)).toBe(1);
    outbox.read = read;
    await pass(relay, 4_000);
    expect(sink.arrived.map(idOf)).toEqual(["1"]);
  });

  it("tries again soon after a failure that follows a success", async () => {
    const relay = await ready();
    sink.refuse = () => away;
    add("1");
    await pass(relay, 20_000);
    sink.refuse = () => undefined;
    await pass(relay, 5_000);
    sink.refuse = () => away;
    add("2");
    await atRest(relay);
    sink.refuse = () => undefined;
    await pass(relay, 200);
    expect(sink.arrived.map(idOf)).toEqual(["1", "2"]);
  });

  it("that was frozen while it sent does no harm beyond a repeat", async () => {
    const relay = await ready("a");
    const thaw = sink.freeze();
    for (const id of ["1", "2"]) add(id);
    await new Promise((resolve) => setImmediate(resolve));
    expect(sink.attempts).toEqual([["1", "2"]]);
    nowMs += LEASE_MS;
    thaw();
    add("3");
    const successor = await ready("b");
    await atRest(relay);
    add("4");
    await pass(successor, 400);
    await pass(relay, 400);
    expect(firstsByKey(sink.arrived)).toEqual({ k: ["1", "2", "3", "4"] });
    expect(waitingIn(0)).toBe(0);
  });

  it("puts aside what cannot be read, with the reason, and goes on", async () => {
    add("1");
    add("poison", { payload: Buffer.from([0xff]) });
    add("2");
    const relay = await ready();
    expect(firstsByKey(sink.arrived)).toEqual({ k: ["1", "2", "poison"] });
    const letter = sink.arrived.find(({ topic }) => topic === "chat-events.dlq");
    expect(letter?.headers["dlq-reason"]).toContain("not a protobuf");
    expect(letter?.value).toEqual(Buffer.from([0xff]));
    expect(relay.counters).toEqual({ relayed: 2, failures: 0, deadLetters: 1, discarded: 0 });
    expect(waitingIn(0)).toBe(0);
  });

  it("sends in smaller batches what is too much at once, and puts aside what is too large by itself", async () => {
    sink.refuse = (records) => {
      const isHuge = records.some((record) => idOf(record) === "huge" && record.topic === "chat-events");
      return isHuge || records.length > 3 ? tooLarge : undefined;
    };
    const ids = Array.from({ length: 10 }, (_, index) => `${index}`);
    for (const id of ids.slice(0, 6)) add(id);
    add("huge");
    for (const id of ids.slice(6)) add(id);
    const relay = await ready();
    expect(firstsByKey(sink.arrived)).toEqual({ k: [...ids, "huge"] });
    expect(sink.arrived).toHaveLength(11);
    expect(sink.arrived.at(-1)).toMatchObject({ topic: "chat-events.dlq" });
    expect(relay.counters).toMatchObject({ relayed: 10, deadLetters: 1, discarded: 0 });
  });

  it("gives up an event that even the dead letter topic refuses, counts it, and goes on", async () => {
    sink.refuse = (records) => (records.some((record) => idOf(record) === "huge") ? tooLarge : undefined);
    add("huge");
    add("1");
    const relay = await ready();
    expect(sink.arrived.map(idOf)).toEqual(["1"]);
    expect(relay.counters).toMatchObject({ relayed: 1, deadLetters: 0, discarded: 1 });
    expect(waitingIn(0)).toBe(0);
  });

  it("lets others by while the dead letter topic is away, and puts the poison aside when it is back", async () => {
    sink.refuse = ([record]) => (record?.topic.endsWith(".dlq") ? away : undefined);
    add("poison", { payload: Buffer.from([0xff]) });
    add("1");
    const relay = await ready();
    add("2");
    await pass(relay, 5_000);
    expect(sink.arrived.map(idOf)).toEqual(["1", "2"]);
    expect(waitingIn(0)).toBe(1);
    sink.refuse = () => undefined;
    await pass(relay, 5_000);
    expect(sink.arrived.map(({ topic }) => topic).at(-1)).toBe("chat-events.dlq");
    expect(waitingIn(0)).toBe(0);
  });

  it("has a bounded number of batches in hand, and lets every partition have its turn", async () => {
    const relay = await ready();
    const thaw = sink.freeze();
    for (let partition = 0; partition < 40; partition++) add(`${partition}`, { partition });
    for (let index = 0; index < 500; index++) add(`more ${index}`, { partition: 0 });
    await new Promise((resolve) => setImmediate(resolve));
    expect(sink.attempts).toHaveLength(8);
    thaw();
    await atRest(relay);
    expect(sink.mostAtOnce).toBe(8);
    expect(sink.arrived).toHaveLength(540);
    const lastOfOthers = Math.max(...sink.arrived.map((record, at) => (/^\d+$/.test(idOf(record)) ? at : 0)));
    expect(lastOfOthers).toBeLessThan(300);
  });

  it("says what waits in its partitions as of its last sweep, and asks the store no more often", async () => {
    const outbox = new MemoryOutbox(entries);
    let asked = 0;
    const backlog = outbox.backlog.bind(outbox);
    outbox.backlog = async (partitions) => {
      asked += 1;
      return backlog(partitions);
    };
    const relay = await ready("a", outbox);
    sink.refuse = () => away;
    add("1", { partition: 1 });
    add("2", { partition: 2 });
    asked = 0;
    await pass(relay, 10_000);
    expect(asked).toBe(5);
    expect(relay.waiting.events).toBe(2);
    expect(relay.waiting.oldestAgeMs).toBeGreaterThan(7_000);
    sink.refuse = () => undefined;
    await pass(relay, 7_000);
    expect(relay.waiting).toEqual({ events: 0, oldestAgeMs: 0 });
  });

  it("finishes what it has in hand when it stops, begins nothing more, and gives its leases up", async () => {
    const relay = await ready("a");
    const thaw = sink.freeze();
    add("1");
    await new Promise((resolve) => setImmediate(resolve));
    add("2");
    const stopped = relay.stop();
    thaw();
    await stopped;
    add("3");
    await atRest(relay);
    expect(sink.arrived.map(idOf)).toEqual(["1"]);
    expect(relay.leases).toBe(0);
    await ready("b");
    expect(sink.arrived.map(idOf)).toEqual(["1", "2", "3"]);
  });

  it("relays the partitions of its own leases only", async () => {
    const first = relayOf("a");
    const second = relayOf("b");
    for (let round = 0; round < LEASE_COUNT; round++) for (const relay of [first, second]) await relay.tick();
    expect([first.leases, second.leases]).toEqual([4, 4]);
    await first.stop();
    for (let partition = 0; partition < 128; partition++) add(`${partition}`, { partition });
    await atRest(second);
    const relayed = new Set(sink.arrived.map((record) => leaseOf(Number(idOf(record)))));
    expect(relayed.size).toBe(4);
    expect(sink.arrived).toHaveLength(64);
  });
});
