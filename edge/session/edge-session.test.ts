import { describe, expect, it } from "vitest";
import { sessionOnFakeSocket, text } from "#test/support/session-on-fake-socket.js";
import { MAX_UNANSWERED_BYTES, MAX_UNANSWERED_FRAMES } from "./edge-session.js";
import { Group } from "./group.js";

const position = (offset: number, epoch = "e") => ({ epoch, offset, tag: offset });

describe("a session's unanswered frames", () => {
  it("stop the reading at 32, and it goes on when one is dealt with", () => {
    const { session, socket } = sessionOnFakeSocket(1);
    for (let count = 1; count < MAX_UNANSWERED_FRAMES; count += 1) session.take(text("x"), count);
    expect(socket.pausedFor.size).toBe(0);
    session.take(text("x"), 99);
    expect([...socket.pausedFor]).toEqual(["unanswered"]);
    session.acknowledge(1);
    expect(socket.pausedFor.size).toBe(0);
  });

  it("stop the reading at 64 KiB, too, and the bytes are counted back exactly", () => {
    const { session, socket } = sessionOnFakeSocket(1);
    const half = new Uint8Array(MAX_UNANSWERED_BYTES / 2);
    for (let round = 0; round < 3; round += 1) {
      session.take(half, 1);
      expect(socket.pausedFor.size).toBe(0);
      const { upSequence } = session.take(half, 1);
      expect(socket.pausedFor.size).toBe(1);
      session.acknowledge(upSequence);
      expect(socket.pausedFor.size).toBe(0);
    }
  });

  it("are numbered on over homes, and a home is told the number of the next one", () => {
    const { session } = sessionOnFakeSocket(1);
    expect(session.openMessage().nextUpSequence).toBe(1);
    for (let count = 0; count < 5; count += 1) session.take(text("x"), 1);
    session.acknowledge(2);
    session.acknowledge(1);
    expect(session.unanswered.map(({ upSequence }) => upSequence)).toEqual([3, 4, 5]);
    expect(session.openMessage().nextUpSequence).toBe(3);
    session.acknowledge(9);
    expect(session.openMessage().nextUpSequence).toBe(6);
  });

  it("have times that grow strictly, also where the clock stands still or goes back", () => {
    const { session } = sessionOnFakeSocket(1);
    const times = [100, 100, 50, 200].map((nowUs) => session.take(text("x"), nowUs).receivedAtUs);
    expect(times).toEqual([100, 101, 102, 200]);
  });

  it("are poison after two deaths of links that carried them, and innocent while they only waited", () => {
    const { session, socket } = sessionOnFakeSocket(1);
    for (let count = 0; count < MAX_UNANSWERED_FRAMES; count += 1) session.take(text("x"), 1);
    const [first, second] = session.unanswered;
    if (first === undefined || second === undefined) throw new Error("frames are missing");
    first.isInFlight = true;
    expect(session.takePoison(2)).toEqual([]);
    // The first was not sent again before the next link died; the second was for the first time.
    second.isInFlight = true;
    expect(session.takePoison(2)).toEqual([]);
    first.isInFlight = true;
    expect(session.takePoison(2).map(({ upSequence }) => upSequence)).toEqual([1]);
    expect(session.unanswered).toHaveLength(MAX_UNANSWERED_FRAMES - 1);
    expect(socket.pausedFor.size).toBe(0);
  });

  it("may grow while they are acknowledged: a socket that had read ahead goes on at once", () => {
    const { session, socket } = sessionOnFakeSocket(1);
    for (let count = 0; count < MAX_UNANSWERED_FRAMES; count += 1) session.take(text("x"), 1);
    socket.onResumed = () => {
      socket.onResumed = () => undefined;
      for (let count = 0; count < MAX_UNANSWERED_FRAMES; count += 1) session.take(text("y"), 2);
    };
    session.acknowledge(MAX_UNANSWERED_FRAMES);
    expect(session.unanswered.map(({ upSequence }) => upSequence)).toEqual(
      Array.from({ length: MAX_UNANSWERED_FRAMES }, (_, index) => MAX_UNANSWERED_FRAMES + 1 + index),
    );
    expect([...socket.pausedFor]).toEqual(["unanswered"]);
  });
});

describe("a session that announced a resume", () => {
  const awaits = (session: { openMessage(): { awaitsResume: boolean } }) =>
    session.openMessage().awaitsResume;

  it("awaits it at every home until one has opened it", () => {
    const { session } = sessionOnFakeSocket(1, { awaitsResume: true });
    expect([awaits(session), awaits(session)]).toEqual([true, true]);
    session.state = text("opened");
    expect(awaits(session)).toBe(false);
  });

  it("awaits it while its frames wait, and no more once the first is dealt with or is poison", () => {
    const { session } = sessionOnFakeSocket(1, { awaitsResume: true });
    session.take(text("resume"), 1).isInFlight = true;
    session.take(text("more"), 2);
    expect(awaits(session)).toBe(true);
    const other = sessionOnFakeSocket(2, { awaitsResume: true }).session;
    other.take(text("resume"), 1).isInFlight = true;
    session.takePoison(1);
    other.acknowledge(1);
    expect([awaits(session), awaits(other)]).toEqual([false, false]);
  });

  it("is the only kind that awaits one", () => {
    expect(awaits(sessionOnFakeSocket(1).session)).toBe(false);
  });
});

describe("a session that was given missed events", () => {
  it("stands at the last of them, also where an earlier one comes again, until it joins the channel", () => {
    const { session } = sessionOnFakeSocket(1);
    for (const offset of [4, 6, 5]) session.stands("order:1", position(offset));
    expect(session.openMessage().positions).toEqual({ "order:1": position(6) });
    session.stands("order:1", position(1, "f"));
    expect(session.openMessage().positions).toEqual({ "order:1": position(1, "f") });
    new Group(1, "order:1").add(session, position(2, "f"));
    expect(session.openMessage().positions).toEqual({});
  });

  it("carries the furthest position away, the group's or that of what it was given beside it", () => {
    const { session } = sessionOnFakeSocket(1);
    const [behind, ahead] = [new Group(1, "order:1"), new Group(2, "order:2")];
    behind.add(session, position(4));
    ahead.add(session, position(9));
    for (const channel of ["order:1", "order:2"]) session.stands(channel, position(6));
    session.leaveGroups();
    expect(session.openMessage().positions).toEqual({ "order:1": position(6), "order:2": position(9) });
  });

  it("carries nothing of a channel that it follows no more", () => {
    const { session } = sessionOnFakeSocket(1);
    const group = new Group(1, "order:1");
    group.add(session, position(4));
    session.stands("order:1", position(6));
    session.leave(group);
    session.leaveGroups();
    expect(session.openMessage().positions).toEqual({});
  });
});

describe("a session that moves", () => {
  it("carries its position in each channel until it has joined there again", () => {
    const { session } = sessionOnFakeSocket(1);
    const group = new Group(1, "order:1");
    group.add(session, position(4));
    session.leaveGroups();
    expect(session.openMessage().positions).toEqual({ "order:1": position(4) });
    // Its next home dies before it has joined.
    session.leaveGroups();
    expect(session.openMessage().positions).toEqual({ "order:1": position(4) });
  });
});
