import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { eventTag } from "#proto/event-tag.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { gate, order, SILENT } from "#test/support/fanout-core.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { FanoutCounters } from "../fanout-counters.js";
import { isRotated, ROTATED, type BrokerMessage, type StreamPosition } from "./broker.js";
import { MemoryBroker, MemoryChannels } from "./broker-memory.js";
import { standingOf } from "./catch-up.js";
import { FollowedChannel } from "./followed-channel.js";

const channel = order("42");
const BEFORE = { epoch: "", offset: 0, tag: 0 };

describe("where somebody stands", () => {
  const at = (offset: number, tag = offset, epoch = "a"): StreamPosition => ({ epoch, offset, tag });
  it.each([
    ["the same event is stored", at(3), at(3), "same"],
    ["the tag of one is not known", at(3, 0), at(3), "same"],
    ["more is stored", at(3), at(5), "behind"],
    ["less is stored", at(3), at(2), "forked"],
    ["another event is stored there", at(3), at(3, 9), "forked"],
    ["another epoch is stored", at(3), at(3, 3, "b"), "replaced"],
    ["nothing is stored any more", at(3), BEFORE, "gone"],
    ["nothing is stored yet", BEFORE, BEFORE, "same"],
    ["the first is stored", BEFORE, at(1), "behind"],
    ["nothing was there before a rotated epoch", BEFORE, at(1, 1, `b${ROTATED}`), "replaced"],
    ["a rotated epoch has no event yet", at(0, 0, `b${ROTATED}`), at(0, 0, `b${ROTATED}`), "same"],
  ] as const)("where %s", (_, mine, stored, standing) => {
    expect(standingOf(mine, stored)).toBe(standing);
  });
});

/** Two fanouts on one store, which can be put back to what it was: it failed over behind. */
class Fork {
  readonly counters = new FanoutCounters();
  memory = new MemoryChannels();
  readonly broker = new UnreliableBroker(new Behind(() => this.#store));
  readonly heard: string[] = [];
  readonly followed: FollowedChannel;
  #store = new MemoryBroker({ channels: this.memory });

  constructor() {
    this.followed = new FollowedChannel({
      channel,
      broker: this.broker,
      counters: this.counters,
      logger: SILENT,
      onSignal: () => undefined,
      onInterrupted: () => undefined,
    });
    this.followed.audiences.add({
      deliver: ({ frames, kind }) => {
        this.heard.push(kind.class === "durable" ? `${kind.position.offset} ${nameIn(frames.protobuf)}` : "");
      },
      missed: ({ epoch, offset }) =>
        this.heard.push(`missed up to ${offset}${isRotated(epoch) ? ROTATED : ""}`),
    });
  }

  get store(): MemoryBroker {
    return this.#store;
  }

  async publish(...names: readonly string[]): Promise<void> {
    for (const name of names) await this.publishOne(name);
    await settle();
  }

  async publishOne(name: string): Promise<void> {
    await this.#store.publish(channel, { eventId: name, idempotencyKey: name, payload: payloadOf(name) });
  }

  /** Only these events are left, in the same epoch. */
  async failOver(...names: readonly string[]): Promise<void> {
    const { epoch } = (await this.#store.state(channel)).position;
    this.memory = new MemoryChannels();
    this.#store = new MemoryBroker({ channels: this.memory });
    this.broker.way = () => [];
    await this.publish(...names);
    const record = this.memory.find(channel, this.memory.nowMs())?.durable;
    if (record === undefined) return;
    const inEpoch = (position: StreamPosition): StreamPosition => ({ ...position, epoch });
    record.epoch = epoch;
    record.last = { ...record.last, position: inEpoch(record.last.position) };
    record.history = record.history.map((event) => ({ ...event, position: inEpoch(event.position) }));
  }

  async sweep(): Promise<void> {
    const [stored] = await this.broker.positions([channel]);
    if (stored !== undefined) this.followed.check(stored);
    await settle();
  }
}

/** Follows the channel in whatever store there is. */
class Behind extends MemoryBroker {
  constructor(private readonly current: () => MemoryBroker) {
    super();
  }
  override follow(...args: Parameters<MemoryBroker["follow"]>) {
    return this.current().follow(...args);
  }
  override state(...args: Parameters<MemoryBroker["state"]>) {
    return this.current().state(...args);
  }
  override positions(...args: Parameters<MemoryBroker["positions"]>) {
    return this.current().positions(...args);
  }
  override history(...args: Parameters<MemoryBroker["history"]>) {
    return this.current().history(...args);
  }
  override rotate(...args: Parameters<MemoryBroker["rotate"]>) {
    return this.current().rotate(...args);
  }
}

function payloadOf(id: string): Uint8Array {
  return Event.encode(Event.fromPartial({ id })).finish();
}

function nameIn(frame: Uint8Array): string {
  const { body } = ServerFrame.decode(frame);
  return body?.$case === "event" ? body.value.id : "no event";
}

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(1);

describe("a fork", () => {
  let fork: Fork;

  beforeEach(async () => {
    vi.useFakeTimers();
    fork = new Fork();
    await fork.followed.active();
    await fork.publish("e1", "e2", "e3");
    expect(fork.heard).toEqual(["1 e1", "2 e2", "3 e3"]);
    fork.heard.length = 0;
  });

  afterEach(() => {
    fork.followed.close();
    vi.useRealTimers();
  });

  it.each([
    ["less is stored than was delivered", ["e1", "e2"]],
    ["another event stands where one was delivered", ["e1", "e2", "x3"]],
    ["more is stored, behind another event than was delivered", ["e1", "x2", "x3", "x4", "x5"]],
  ])("where %s: a new epoch is begun and told, once, and goes on", async (_, left) => {
    await fork.failOver(...left);
    await fork.sweep();
    expect(fork.heard).toEqual([`missed up to 0${ROTATED}`]);
    const { position } = await fork.store.state(channel);
    expect(position).toMatchObject({ offset: 0, tag: 0 });
    expect(isRotated(position.epoch)).toBe(true);
    await fork.sweep();
    await fork.publish("e4");
    await fork.sweep();
    await fork.sweep();
    expect(fork.heard).toEqual([`missed up to 0${ROTATED}`, "1 e4"]);
    expect(fork.counters.epochsRotated).toBe(1);
  });

  it("shows by the event before it, though its own position is the next", async () => {
    await fork.failOver("e1", "e2", "x3", "x4");
    const { epoch } = (await fork.store.state(channel)).position;
    const next: BrokerMessage = {
      type: "durable",
      position: { epoch, offset: 4, tag: eventTag("x4") },
      previousTag: eventTag("x3"),
      payload: payloadOf("x4"),
    };
    fork.broker.say(channel, next);
    await settle();
    expect(fork.heard).toEqual([`missed up to 0${ROTATED}`]);
  });

  it("that another fanout found is told once here, and what came since is delivered", async () => {
    await fork.failOver("e1");
    await fork.store.rotate(channel, (await fork.store.state(channel)).position);
    await fork.publish("n1", "n2");
    await fork.sweep();
    await fork.sweep();
    expect(fork.heard).toEqual([`missed up to 0${ROTATED}`, "1 n1", "2 n2"]);
    expect(fork.counters.epochsRotated).toBe(0);
  });

  it("is found though events are published while it is compared", async () => {
    await fork.failOver("e1");
    let publishes = 0;
    fork.broker.answers.set("state", async () => {
      publishes += 1;
      if (publishes <= 2) await fork.publishOne(`during ${publishes}`);
    });
    await fork.sweep();
    await fork.sweep();
    expect(fork.heard[0]).toBe(`missed up to 0${ROTATED}`);
    expect(fork.heard.filter((word) => word.startsWith("missed"))).toHaveLength(1);
  });

  it("is not seen in a stale answer that newer messages have overtaken", async () => {
    for (const operation of ["state", "positions"] as const) {
      const answer = gate();
      fork.broker.answers.set(operation, () => answer.opened);
      fork.heard.length = 0;
      const sweeping = fork.sweep();
      // Makes it compare itself, and read the state.
      fork.broker.say(channel, { type: "resubscribed" });
      await settle();
      await fork.publish(`${operation} 1`, `${operation} 2`);
      answer.open();
      await sweeping;
      await settle();
      fork.broker.answers.clear();
      await settle();
      expect(fork.heard.map((word) => word.replace(/^\d+ /, ""))).toEqual([
        `${operation} 1`,
        `${operation} 2`,
      ]);
    }
    expect(fork.broker.calls).not.toContain("rotate");
  });

  it("is never concluded from what a client says it was given", async () => {
    const claims = new Fork();
    try {
      claims.broker.isAway = true;
      await claims.publish("e1", "e2");
      const { epoch } = (await claims.store.state(channel)).position;
      await settle();
      expect(claims.followed.isActive).toBe(false);
      expect(claims.followed.owe({ epoch, offset: 99, tag: 7 })).toBe(true);
      claims.broker.isAway = false;
      await vi.advanceTimersByTimeAsync(2000);
      expect(claims.followed.isActive).toBe(true);
      expect(claims.heard).toEqual(["missed up to 2"]);
      await claims.sweep();
      await claims.publish("e3");
      await claims.sweep();
      expect(claims.heard).toEqual(["missed up to 2", "3 e3"]);
      expect(claims.broker.calls).not.toContain("rotate");
    } finally {
      claims.followed.close();
    }
  });
});

it("an event that came before the state was read, and is newer, is not left to the next one", async () => {
  const memory = new MemoryChannels();
  const broker = new UnreliableBroker(new MemoryBroker({ channels: memory }));
  const elsewhere = new MemoryBroker({ channels: memory });
  const reading = gate();
  broker.answers.set("state", () => reading.opened);
  const followed = new FollowedChannel({
    channel,
    broker,
    counters: new FanoutCounters(),
    logger: SILENT,
    onSignal: () => undefined,
    onInterrupted: () => undefined,
  });
  const heard: number[] = [];
  followed.audiences.add({
    deliver: ({ kind }) => kind.class === "durable" && heard.push(kind.position.offset),
    missed: () => undefined,
  });
  try {
    await vi.waitFor(() => expect(broker.calls).toContain("state"));
    await new Promise((resolve) => setImmediate(resolve));
    await elsewhere.publish(channel, { eventId: "e", idempotencyKey: "e", payload: new Uint8Array() });
    await new Promise((resolve) => setImmediate(resolve));
    reading.open();
    await vi.waitFor(() => expect(heard).toEqual([1]));
  } finally {
    followed.close();
  }
});
