import { beforeEach, describe, expect, it, vi } from "vitest";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { DeliveryClass, Framing } from "#proto/gen/realtime/link/v1/link.js";
import { EventFrames } from "#fanout/channel/event-frames.js";
import { FollowedChannel, type ChannelDelivery } from "#fanout/channel/followed-channel.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import { FakeEdge } from "#test/support/fake-edge.js";
import { eventOf, location, order, SILENT, status } from "#test/support/fanout-core.js";
import { FanoutCounters } from "../fanout-counters.js";
import { FanoutLink } from "./fanout-link.js";
import type { GroupMember } from "./link-group.js";

const POSITION = { epoch: "e", offset: 3, tag: 1 };
const nothing = (): void => undefined;
let channel: FollowedChannel;

beforeEach(() => {
  channel = new FollowedChannel({
    channel: order("42"),
    broker: new MemoryBroker(),
    counters: new FanoutCounters(),
    logger: SILENT,
    onSignal: nothing,
    onInterrupted: nothing,
  });
  return () => channel.close();
});

function link(creditBytes = 1 << 24): { link: FanoutLink; edge: FakeEdge } {
  const edge = new FakeEdge();
  const made = new FanoutLink({
    stream: edge,
    fanoutId: "f",
    incarnation: "i",
    version: "v",
    counters: new FanoutCounters(),
    logger: SILENT,
    nowMs: () => 0,
    listener: {
      greeted: nothing,
      open: nothing,
      frame: nothing,
      confirm: nothing,
      close: nothing,
      verified: () => undefined,
      release: nothing,
      status: () => ({ sessions: 0, onlineUsers: 0, dependencies: [], storeTimeUs: 0, accepting: true }),
      ended: nothing,
    },
  });
  edge.greet({ creditBytes });
  return { link: made, edge };
}

function member(
  number: number,
  framing: Framing = Framing.FRAMING_PROTOBUF,
  minSendIntervalMs = 0,
): GroupMember {
  return { number, connectionId: `connection-${number}`, framing, minSendIntervalMs };
}

function durable(): ChannelDelivery {
  const frames = new EventFrames(Event.encode(eventOf(status("paid"))).finish(), POSITION);
  return { frames, kind: { class: "durable", position: POSITION } };
}

function latest(version: number): ChannelDelivery {
  const frames = new EventFrames(Event.encode(eventOf(location("p1", version))).finish());
  return { frames, kind: { class: "latest", key: "location:p1", version } };
}

function deliver(delivery: ChannelDelivery): void {
  for (const audience of channel.audiences) audience.deliver(delivery);
}

const settle = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 2));

describe("a group", () => {
  it("gets an event once, in the framings that its sockets have", async () => {
    const [one, two] = [link(), link()];
    one.link.join(member(1), channel, undefined);
    one.link.join(member(2), channel, undefined);
    two.link.join(member(1, Framing.FRAMING_JSON), channel, undefined);
    deliver(durable());
    one.link.join(member(3, Framing.FRAMING_JSON), channel, undefined);
    deliver(durable());
    one.link.leave(member(9), channel);
    await settle();
    const sizes = (edge: FakeEdge): boolean[][] =>
      edge.itemsOf("deliver").map(({ protobuf, json }) => [protobuf.length > 0, json.length > 0]);
    expect(sizes(one.edge)).toEqual([
      [true, false],
      [true, true],
    ]);
    expect(sizes(two.edge)).toEqual([
      [false, true],
      [false, true],
    ]);
    expect(one.edge.itemsOf("deliver")[0]).toMatchObject({
      deliveryClass: DeliveryClass.DELIVERY_CLASS_DURABLE,
      position: POSITION,
      excludeSession: 0,
    });
  });

  it("drops a framing when its last socket leaves, and ends with the last of all", async () => {
    const { link: one, edge } = link();
    const [first, second] = [member(1), member(2, Framing.FRAMING_JSON)];
    one.join(first, channel, POSITION);
    one.join(second, channel, POSITION);
    one.leave(second, channel);
    deliver(durable());
    one.leave(first, channel);
    expect(channel.audiences.size).toBe(0);
    one.join(first, channel, POSITION);
    await settle();
    expect(edge.itemsOf("deliver").map(({ json }) => json.length)).toEqual([0]);
    expect(edge.itemsOf("join").map(({ group, session, after }) => [group, session, after?.offset])).toEqual([
      [1, 1, 3],
      [1, 2, 3],
      [2, 1, 3],
    ]);
    expect(edge.itemsOf("leave").map(({ session }) => session)).toEqual([2, 1]);
  });

  it("of many edges costs one encoding for each framing", async () => {
    const links = Array.from({ length: 10 }, () => link());
    for (const { link: each } of links) {
      each.join(member(1), channel, undefined);
      each.join(member(2, Framing.FRAMING_JSON), channel, undefined);
    }
    const encode = vi.spyOn(Event, "encode");
    const stringify = vi.spyOn(JSON, "stringify");
    const delivery = durable();
    encode.mockClear();
    deliver(delivery);
    expect(stringify).toHaveBeenCalledTimes(1);
    // The position's bytes, behind the event as it was stored.
    expect(encode).toHaveBeenCalledTimes(1);
    vi.restoreAllMocks();
    await settle();
    const [first] = links[0]?.edge.itemsOf("deliver") ?? [];
    for (const { edge } of links) expect(edge.itemsOf("deliver")).toEqual([first]);
  });

  it("does not send typing back to the socket that it came from", async () => {
    const { link: one, edge } = link();
    one.join(member(1), channel, undefined);
    one.join(member(2), channel, undefined);
    const { frames } = durable();
    deliver({ frames, kind: { class: "ephemeral", origin: "connection-2" } });
    deliver({ frames, kind: { class: "ephemeral", origin: "connection-of-another-edge" } });
    await settle();
    expect(edge.itemsOf("deliver").map(({ excludeSession }) => excludeSession)).toEqual([2, 0]);
  });

  it("tells each socket in its framing that events are lost", async () => {
    const { link: one, edge } = link();
    one.join(member(1), channel, undefined);
    one.join(member(2, Framing.FRAMING_JSON), channel, undefined);
    one.join(member(3, Framing.FRAMING_PROTOBUF, 60), channel, undefined);
    for (const audience of channel.audiences) audience.missed(POSITION);
    await settle();
    const frames = edge.itemsOf("frame");
    expect(frames.map(({ session }) => session)).toEqual([1, 2, 3]);
    const intervals = [frames[0], frames[2]].map((frame) => {
      const { body } = ServerFrame.decode(frame?.payload ?? new Uint8Array());
      return body?.$case === "subscribed" ? body.value.minSendIntervalMs : undefined;
    });
    // A worker's hint holds on.
    expect(intervals).toEqual([0, 60]);
    const json: unknown = JSON.parse(Buffer.from(frames[1]?.payload ?? []).toString());
    expect(json).toMatchObject({
      subscribed: { channel: "order:42", position: { epoch: "e", offset: "3" } },
    });
  });

  it("encodes once for each framing that events are lost, however many sockets there are", () => {
    const { link: one } = link();
    for (let number = 1; number <= 10; number += 1) {
      const framing = number % 2 === 0 ? Framing.FRAMING_JSON : Framing.FRAMING_PROTOBUF;
      one.join(member(number, framing), channel, undefined);
    }
    const encode = vi.spyOn(ServerFrame, "encode");
    const stringify = vi.spyOn(JSON, "stringify");
    try {
      for (const audience of channel.audiences) audience.missed(POSITION);
      expect(encode.mock.calls.length).toBeLessThanOrEqual(2);
      expect(stringify).toHaveBeenCalledTimes(1);
    } finally {
      vi.restoreAllMocks();
    }
  });

  it("under pressure keeps the newest value, but not in the place of one from before a join", async () => {
    const { link: one, edge } = link(1);
    const pad = "x".repeat(5 * 1024 * 1024);
    one.join(member(1), channel, undefined);
    one.send({ $case: "close", value: { session: 9, code: 4000, reason: pad } });
    deliver(latest(1));
    deliver(latest(2));
    one.join(member(2), channel, undefined);
    deliver(latest(3));
    deliver(latest(4));
    edge.say({ $case: "credit", value: { bytes: 1 << 24 } });
    await settle();
    const words = edge.items.flatMap((item) => {
      if (item.$case === "join") return [`join ${item.value.session}`];
      return item.$case === "deliver" ? [`value ${item.value.version}`] : [];
    });
    expect(words).toEqual(["join 1", "value 2", "join 2", "value 4"]);
  });
});
