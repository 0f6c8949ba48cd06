import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { StalledSink } from "#test/support/stalled-sink.js";
import { EdgeCounters } from "../edge-counters.js";
import { SocketWriter, WriteTurn, type SlowSocketLimits } from "./socket-writer.js";

const KIB = 1024;
const DEFAULT_LIMITS: SlowSocketLimits = { conflateBytes: 64 * KIB, closeBytes: 1024 * KIB };

/** A stand-in for a frame: its name, filled up to its size; names are read back by `namesIn`. */
function frame(name: string, bytes = name.length + 1): Buffer {
  return Buffer.from(`${name.padEnd(bytes - 1, ".")}\n`);
}

function namesIn(bytes: Buffer): string[] {
  return bytes
    .toString()
    .split("\n")
    .slice(0, -1)
    .map((line) => line.replace(/\.+$/, ""));
}

function setup(limits: Partial<SlowSocketLimits> = {}) {
  const socket = new StalledSink();
  const counters = new EdgeCounters();
  const backlogged = new Set<SocketWriter>();
  const onSlow = vi.fn();
  const options = { socket, turn: new WriteTurn(), counters, backlogged, onSlow };
  const writer = new SocketWriter({ ...options, limits: { ...DEFAULT_LIMITS, ...limits } });
  return { writer, socket, counters, backlogged, onSlow };
}

/** Writes so much that the socket is behind and everything newer waits. */
async function stalledBy(limits: Partial<SlowSocketLimits> = {}, bytes = 80 * KIB) {
  const parts = setup(limits);
  parts.socket.stall();
  parts.writer.write(frame("full", bytes));
  await turn();
  return parts;
}

describe("what is written within one turn of the event loop", () => {
  it("is one write, in its order, whatever its class", async () => {
    const { writer, socket, counters } = setup();
    writer.write(frame("durable-1"));
    writer.writeLatest("k", frame("latest"));
    writer.writeEphemeral(frame("ephemeral"));
    writer.write(frame("durable-2"));
    expect(socket.writes).toEqual([]);
    await turn();
    expect(socket.writes).toHaveLength(1);
    expect(namesIn(socket.bytes)).toEqual(["durable-1", "latest", "ephemeral", "durable-2"]);
    expect(counters).toMatchObject({ framesWritten: 4, socketWrites: 1, bytesWritten: socket.bytes.length });
    expect(writer.queuedBytes).toBe(0);
  });

  it("is one write also where it is too large to be copied together", async () => {
    const { writer, socket } = setup();
    for (const name of ["a", "b", "c"]) writer.write(frame(name, 20 * KIB));
    await turn();
    expect(socket.writes).toHaveLength(1);
    expect(namesIn(socket.bytes)).toEqual(["a", "b", "c"]);
  });

  it("is one write for each of many sockets of a turn, also of those written to by the flush itself", async () => {
    const sockets = Array.from({ length: 3 }, () => setup());
    for (const { writer } of sockets) writer.write(frame("first"));
    await turn();
    for (const { writer } of sockets) writer.write(frame("second"));
    await turn();
    for (const { socket } of sockets) {
      expect(socket.writes.map((write) => namesIn(write))).toEqual([["first"], ["second"]]);
    }
  });
});

describe("a client that reads slowly", () => {
  it("gets the newest of each key once it reads again, and every durable frame in order", async () => {
    const { writer, socket, counters, backlogged } = await stalledBy();
    for (let version = 1; version <= 100; version += 1) {
      writer.writeLatest("a", frame(`a${version}`));
      writer.writeLatest("b", frame(`b${version}`));
      writer.write(frame(`durable-${version}`));
      if (version % 10 === 0) await turn();
    }
    expect(backlogged).toEqual(new Set([writer]));
    expect(counters.framesConflated).toBe(198);
    socket.flow();
    await vi.waitFor(() => expect(namesIn(socket.bytes)).toContain("b100"));
    const names = namesIn(socket.bytes);
    const durable = Array.from({ length: 100 }, (_, index) => `durable-${index + 1}`);
    expect(names.filter((name) => name.startsWith("durable"))).toEqual(durable);
    expect(names.filter((name) => /^[ab]\d/.test(name))).toEqual(["a100", "b100"]);
    expect(backlogged.size).toBe(0);
    expect(writer.queuedBytes).toBe(0);
  });

  it("never gets an older value after a newer one, also where its queue shrinks before it is empty", async () => {
    const { writer, socket } = await stalledBy({}, 60 * KIB);
    writer.write(frame("more", 30 * KIB));
    await turn();
    writer.writeLatest("k", frame("old"));
    // The first 60 KiB leave: less than what conflates is queued now, and the old value is still held.
    socket.takeOne();
    await turn();
    expect(writer.queuedBytes).toBeLessThan(DEFAULT_LIMITS.conflateBytes);
    writer.writeLatest("k", frame("new"));
    socket.flow();
    await vi.waitFor(() => expect(namesIn(socket.bytes).at(-1)).toBe("new"));
    await turn();
    expect(namesIn(socket.bytes)).toEqual(["full", "more", "new"]);
  });

  it("loses ephemeral frames, and is given none of them late", async () => {
    const { writer, socket, counters } = await stalledBy();
    writer.writeEphemeral(frame("typing"));
    expect(counters.framesDropped).toBe(1);
    socket.flow();
    writer.write(frame("last"));
    await vi.waitFor(() => expect(namesIn(socket.bytes)).toEqual(["full", "last"]));
  });

  it("is not given up while what is queued stays within the bound, and is beyond it", async () => {
    const { writer, onSlow } = await stalledBy({ closeBytes: 200 * KIB });
    for (let index = 0; index < 100; index += 1) writer.writeLatest("k", frame(`v${index}`, KIB));
    writer.write(frame("durable", 100 * KIB));
    await turn();
    expect(onSlow).not.toHaveBeenCalled();
    expect(writer.queuedBytes).toBeLessThanOrEqual(200 * KIB);
    // Its socket has said that it takes no more: nothing beyond the bound is queued, not even for a turn.
    writer.write(frame("straw", 20 * KIB));
    expect(onSlow).toHaveBeenCalled();
  });

  it("is given up for too many keys of latest values too", async () => {
    const { writer, onSlow } = await stalledBy({ closeBytes: 200 * KIB });
    for (let index = 0; index < 121; index += 1) writer.writeLatest(`k${index}`, frame("v", KIB));
    expect(onSlow).toHaveBeenCalled();
  });

  it("is given up within the turn where one turn alone writes too much", () => {
    const { writer, socket, onSlow } = setup({ closeBytes: 200 * KIB });
    socket.stall();
    for (let index = 0; index < 300; index += 1) writer.write(frame("burst", KIB));
    expect(onSlow).toHaveBeenCalled();
  });

  it.each([KIB, 8 * KIB, 20 * KIB])(
    "gets every key's newest value also where conflation begins at %i bytes",
    async (conflateBytes) => {
      const { writer, socket, backlogged } = setup({ conflateBytes });
      for (let round = 0; round < 5; round += 1) {
        writer.write(frame(`durable-${round}`, conflateBytes + 10));
        writer.writeLatest("k", frame(`old-${round}`));
        writer.writeLatest("k", frame(`new-${round}`));
        await vi.waitFor(() => expect(namesIn(socket.bytes).at(-1)).toBe(`new-${round}`));
      }
      expect(namesIn(socket.bytes).filter((name) => name.startsWith("old"))).toEqual([]);
      expect(backlogged.size).toBe(0);
    },
  );
});

describe("the end", () => {
  it("drops what is queued and takes nothing more, so that the writer can be forgotten", async () => {
    const { writer, socket, backlogged, counters } = await stalledBy();
    writer.write(frame("queued"));
    writer.writeLatest("k", frame("held"));
    writer.end();
    expect(backlogged.size).toBe(0);
    writer.write(frame("late"));
    writer.writeLatest("k", frame("late"));
    writer.writeEphemeral(frame("late"));
    socket.flow();
    await turn();
    await turn();
    expect(namesIn(socket.bytes)).toEqual(["full"]);
    expect(counters.framesDropped).toBe(0);
  });

  it("comes by itself where the socket takes nothing more: writing on would be an error", async () => {
    const { writer, socket } = setup();
    socket.end();
    writer.write(frame("late"));
    await turn();
    socket.on("error", (error) => expect.fail(error.message));
    await turn();
    expect(socket.bytes).toHaveLength(0);
    expect(writer.queuedBytes).toBe(0);
  });

  it("asks to give a socket up only while there is one", async () => {
    const { writer, onSlow } = await stalledBy();
    writer.giveUp();
    expect(onSlow).toHaveBeenCalledTimes(1);
    writer.end();
    writer.giveUp();
    expect(onSlow).toHaveBeenCalledTimes(1);
  });
});

it("a burst of more than the bound is no slowness where the client reads", async () => {
  const { writer, socket, onSlow } = setup();
  for (let index = 0; index < 32; index += 1) writer.write(frame(`f${index}`, 64 * KIB));
  await turn();
  expect(onSlow).not.toHaveBeenCalled();
  expect(writer.queuedBytes).toBe(0);
  expect(socket.writableLength).toBe(0);
});
