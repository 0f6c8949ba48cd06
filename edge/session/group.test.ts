import { describe, expect, it } from "vitest";
import { DeliveryClass, Framing, type Deliver } from "#proto/gen/realtime/link/v1/link.js";
import { sessionOnFakeSocket, text } from "#test/support/session-on-fake-socket.js";
import { Group } from "./group.js";

const position = (offset: number, epoch = "e") => ({ epoch, offset, tag: offset });

function delivery(name: string, fields: Partial<Deliver> = {}): Deliver {
  return {
    group: 1,
    deliveryClass: DeliveryClass.DELIVERY_CLASS_DURABLE,
    conflationKey: "",
    position: undefined,
    excludeSession: 0,
    protobuf: text(`protobuf ${name}`),
    json: text(name),
    version: 0,
    ...fields,
  };
}

const durable = (offset: number, epoch = "e") =>
  delivery(`${epoch}${offset}`, { position: position(offset, epoch) });

function latest(version: number, key = "k"): Deliver {
  const deliveryClass = DeliveryClass.DELIVERY_CLASS_LATEST;
  return delivery(`v${version}`, { deliveryClass, conflationKey: key, version });
}

function group(number = 1): Group {
  return new Group(number, "order:1");
}

describe("a group", () => {
  it("gives each socket the event in its own framing, and leaves the excluded one out", () => {
    const joined = group();
    const [json, protobuf, origin] = [
      sessionOnFakeSocket(1),
      sessionOnFakeSocket(2, { framing: Framing.FRAMING_PROTOBUF }),
      sessionOnFakeSocket(3),
    ];
    for (const { session } of [json, protobuf, origin]) joined.add(session, undefined);
    const deliveryClass = DeliveryClass.DELIVERY_CLASS_EPHEMERAL;
    joined.deliver(delivery("typing", { deliveryClass, excludeSession: 3 }));
    expect(json.socket.written).toEqual(["typing"]);
    // Its fake socket frames nothing else: the group has built a binary frame.
    expect(protobuf.socket.sink.bytes.subarray(0, 1)).toEqual(Buffer.from(""));
    protobuf.session.socket.writer.flush();
    expect(protobuf.socket.sink.bytes[0]).toBe(0x82);
    expect(origin.socket.written).toEqual([]);
  });

  it("skips durable events that a socket has been given already, for that socket alone", () => {
    const joined = group();
    const [behind, ahead] = [sessionOnFakeSocket(1), sessionOnFakeSocket(2)];
    joined.add(behind.session, position(3));
    joined.deliver(durable(4));
    joined.add(ahead.session, position(6));
    for (const offset of [5, 6, 7]) joined.deliver(durable(offset));
    expect(behind.socket.written).toEqual(["e4", "e5", "e6", "e7"]);
    expect(ahead.socket.written).toEqual(["e7"]);
    expect(joined.positionOf(ahead.session)).toEqual(position(7));
  });

  it("knows where a socket stands that was given more than the group, less, or nothing yet", () => {
    const joined = group();
    const [first, ahead, late] = [sessionOnFakeSocket(1), sessionOnFakeSocket(2), sessionOnFakeSocket(3)];
    joined.add(first.session, position(3));
    expect(joined.positionOf(first.session)).toEqual(position(3));
    joined.add(ahead.session, position(9));
    joined.deliver(durable(4));
    joined.add(late.session, position(4));
    expect(joined.positionOf(first.session)).toEqual(position(4));
    expect(joined.positionOf(ahead.session)).toEqual(position(9));
    expect(joined.positionOf(late.session)).toEqual(position(4));
  });

  it("lets a socket carry the position of a channel without events, so that the first one is not missed", () => {
    const joined = group();
    const { session } = sessionOnFakeSocket(1);
    joined.add(session, position(0, ""));
    expect(joined.positionOf(session)).toEqual(position(0, ""));
    joined.deliver(durable(1));
    expect(joined.positionOf(session)).toEqual(position(1));
  });

  it("lets a socket go on with a new epoch, whatever it had of the old one", () => {
    const joined = group();
    const { session, socket } = sessionOnFakeSocket(1);
    joined.add(session, position(50));
    joined.deliver(durable(1, "f"));
    joined.deliver(durable(2, "f"));
    expect(socket.written).toEqual(["f1", "f2"]);
    expect(joined.positionOf(session)).toEqual(position(2, "f"));
  });

  it("keeps a bound on the latest values that it knows", () => {
    const joined = group();
    for (let key = 0; key < 2000; key += 1) joined.deliver(latest(1, `k${key}`));
    expect(joined.latestVersions.size).toBe(1024);
    expect(joined.latestVersions.has("k1999")).toBe(true);
  });
});

describe("latest values after a move", () => {
  it("are never older than, nor the same as, what the earlier home gave", () => {
    const [old, next] = [group(1), group(2)];
    const { session, socket } = sessionOnFakeSocket(1);
    old.add(session, undefined);
    old.deliver(latest(5));
    session.leaveGroups();
    next.add(session, undefined);
    for (const version of [4, 5, 6]) next.deliver(latest(version));
    expect(socket.written).toEqual(["v5", "v6"]);
  });

  it("stay so over a second move, where the home between knew only older ones", () => {
    const groups = [group(1), group(2), group(3)] as const;
    const { session, socket } = sessionOnFakeSocket(1);
    groups[0].add(session, undefined);
    groups[0].deliver(latest(5));
    session.leaveGroups();
    groups[1].add(session, undefined);
    groups[1].deliver(latest(3));
    session.leaveGroups();
    groups[2].add(session, undefined);
    groups[2].deliver(latest(4));
    groups[2].deliver(latest(6));
    expect(socket.written).toEqual(["v5", "v6"]);
  });

  it("stay so where the value came to this socket alone", () => {
    const { session, socket } = sessionOnFakeSocket(1);
    expect(session.takeLatest("order:1", "k", 5)).toBe(true);
    const next = group();
    next.add(session, undefined);
    next.deliver(latest(4));
    next.deliver(latest(6));
    expect(socket.written).toEqual(["v6"]);
  });

  it("are told apart by channel and key", () => {
    const { session } = sessionOnFakeSocket(1);
    session.takeLatest("order:1", "k", 5);
    expect(session.isNewer("order:1", "other", 1)).toBe(true);
    expect(session.isNewer("order:2", "k", 1)).toBe(true);
    expect(session.isNewer("order:1", "k", 5)).toBe(false);
  });
});
