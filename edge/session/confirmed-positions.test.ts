import { describe, expect, it, vi } from "vitest";
import { DeliveryClass, type Deliver } from "#proto/gen/realtime/link/v1/link.js";
import { sessionOnFakeSocket, text } from "#test/support/session-on-fake-socket.js";
import { Group } from "./group.js";

const position = (offset: number, epoch = "e") => ({ epoch, offset, tag: offset });

const event = (offset: number): Deliver => ({
  group: 1,
  deliveryClass: DeliveryClass.DELIVERY_CLASS_DURABLE,
  conflationKey: "",
  position: position(offset),
  excludeSession: 0,
  protobuf: text(`${offset}`),
  json: text(`${offset}`),
  version: 0,
});

/** A session in the groups of two channels, whose positions there are confirmed. */
function following() {
  const { session } = sessionOnFakeSocket(1);
  const [first, second] = [new Group(1, "order:1"), new Group(2, "order:2")];
  first.add(session, position(3));
  second.add(session, position(0, ""));
  const { confirmed } = session;
  let pings = 0;
  const ping = (): number => {
    pings += 1;
    confirmed.pinged(pings, session);
    return pings;
  };
  /** What a ping and its pong confirm. */
  const confirm = () => Object.fromEntries(confirmed.ponged(ping()) ?? []);
  const atFirst = confirm();
  return { session, confirmed, first, second, ping, confirm, atFirst };
}

describe("what a pong confirms", () => {
  it("is where the socket stands in each channel that it joined, also in one without events", () => {
    expect(following().atFirst).toEqual({ "order:1": position(3), "order:2": position(0, "") });
  });

  it("is only what changed since the last confirmation", () => {
    const { first, confirm } = following();
    expect(confirm()).toEqual({});
    first.deliver(event(4));
    first.deliver(event(5));
    expect(confirm()).toEqual({ "order:1": position(5) });
    expect(confirm()).toEqual({});
  });

  it("is what was written before its ping, not what came after it", () => {
    const { first, confirmed, confirm, ping } = following();
    first.deliver(event(4));
    const number = ping();
    first.deliver(event(5));
    expect(confirmed.ponged(number)).toEqual(new Map([["order:1", position(4)]]));
    expect(confirm()).toEqual({ "order:1": position(5) });
  });

  it("does not repeat a position that the socket has kept while its group moved on to it", () => {
    const { session, first, confirm } = following();
    new Group(3, "order:3").add(session, position(1));
    first.add(session, position(9));
    expect(confirm()).toEqual({ "order:1": position(9), "order:3": position(1) });
    first.deliver(event(4));
    expect(confirm()).toEqual({});
    first.deliver(event(10));
    expect(confirm()).toEqual({ "order:1": position(10) });
  });

  it("is also what the socket was given alone and has not joined yet", () => {
    const { session, confirm } = following();
    session.stands("order:3", position(7));
    expect(confirm()).toEqual({ "order:3": position(7) });
    session.stands("order:3", position(6));
    expect(confirm()).toEqual({});
    new Group(3, "order:3").add(session, position(8));
    expect(confirm()).toEqual({ "order:3": position(8) });
  });

  it("is told to the next home once the socket has joined there", () => {
    const { session, first, confirm } = following();
    first.deliver(event(4));
    session.leaveGroups();
    expect(confirm()).toEqual({});
    new Group(11, "order:1").add(session, position(4));
    expect(confirm()).toEqual({ "order:1": position(4) });
  });

  it("is nothing of a channel that was left and is followed again since the ping", () => {
    const { session, first, confirmed, confirm, ping } = following();
    first.deliver(event(4));
    const number = ping();
    session.leave(first);
    new Group(3, "order:1").add(session, position(20));
    expect(confirmed.ponged(number)).toBeUndefined();
    expect(confirm()).toEqual({ "order:1": position(20) });
  });
});

describe("a pong that confirms nothing", () => {
  it.each([
    ["of no ping of ours", () => 0],
    ["of a ping that is still to come", (ping: number) => ping + 1],
    ["of a ping from before the change", (ping: number) => ping - 1],
    ["of any number", () => 0xffff_ffff],
  ])("is one %s, however often it comes; the right one still does", (_which, forge) => {
    const { first, confirmed, ping } = following();
    first.deliver(event(4));
    const number = ping();
    for (let times = 0; times < 1000; times += 1) {
      expect(confirmed.ponged(forge(number))).toBeUndefined();
    }
    expect(confirmed.ponged(number)).toEqual(new Map([["order:1", position(4)]]));
  });

  it("is the second one of a ping", () => {
    const { first, confirmed, ping } = following();
    first.deliver(event(4));
    const number = ping();
    confirmed.ponged(number);
    first.deliver(event(5));
    expect(confirmed.ponged(number)).toBeUndefined();
  });
});

describe("a client that answers late", () => {
  it("confirms with each pong what its ping stood behind, also where pings overtake its pongs", () => {
    const { first, confirmed, ping } = following();
    const confirmedOffsets: number[] = [];
    for (let offset = 4; offset < 20; offset += 1) {
      first.deliver(event(offset));
      const number = ping();
      const positions = confirmed.ponged(number - 2);
      if (positions !== undefined) confirmedOffsets.push(positions.get("order:1")?.offset ?? 0);
    }
    expect(confirmedOffsets).toEqual([4, 7, 10, 13, 16]);
  });

  it("may answer only the last ping: that confirms what earlier ones stood behind", () => {
    const { first, confirmed, ping } = following();
    first.deliver(event(4));
    ping();
    first.deliver(event(5));
    expect(confirmed.ponged(ping())).toEqual(new Map([["order:1", position(4)]]));
    expect(confirmed.ponged(ping())).toEqual(new Map([["order:1", position(5)]]));
  });

  it("or never, has no more remembered of it than of one ping", () => {
    const { session, first, ping } = following();
    const positionIn = vi.spyOn(session, "positionIn");
    for (let offset = 4; offset < 1000; offset += 1) {
      first.deliver(event(offset));
      ping();
    }
    expect(positionIn).toHaveBeenCalledTimes(1);
  });
});

it("an idle socket is asked for nothing but whether something changed", () => {
  const { session, ping, confirmed } = following();
  const positionIn = vi.spyOn(session, "positionIn");
  for (let times = 0; times < 10; times += 1) expect(confirmed.ponged(ping())).toBeUndefined();
  expect(positionIn).not.toHaveBeenCalled();
});
