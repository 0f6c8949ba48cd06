import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ReconnectReason, ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { edgeConnection } from "#test/support/edge-connection.js";
import { Lifetimes, livesUntil } from "./lifetimes.js";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function open() {
  const parts = edgeConnection();
  parts.connection.opened(parts.session);
  return parts;
}

describe("a connection's lifetime", () => {
  it("is the configured one within a fifth, each connection's own", () => {
    const at = (random: number) => livesUntil({ nowMs: 1000, lifetimeMs: 100_000, random });
    expect([at(0), at(0.5), at(1)].map(Math.round)).toEqual([81_000, 101_000, 121_000]);
  });

  it("is for ever where none is configured", () => {
    expect(livesUntil({ nowMs: 1000, lifetimeMs: 0, random: 0 })).toBe(Infinity);
  });
});

describe("a connection that has lived its time", () => {
  it("is told to connect again at once, and closed when it had the time to", () => {
    const lifetimes = new Lifetimes(() => performance.now());
    const { connection, websocket, sink } = open();
    lifetimes.end(connection);
    vi.advanceTimersByTime(999);
    const { body } = ServerFrame.decode(new Uint8Array(sink.bytes.subarray(2)));
    expect(body).toEqual({
      $case: "reconnect",
      value: { reason: ReconnectReason.RECONNECT_REASON_LIFETIME, afterMs: 0 },
    });
    expect(websocket.closedWith).toBeUndefined();
    vi.advanceTimersByTime(1);
    expect(websocket.closedWith?.code).toBe(CloseCode.LIFETIME);
  });

  it("has its own second, whoever was told before it, and all share one timer", () => {
    const lifetimes = new Lifetimes(() => performance.now());
    const parts = [0, 1, 2, 3].map(() => {
      const each = open();
      lifetimes.end(each.connection);
      vi.advanceTimersByTime(300);
      expect(vi.getTimerCount()).toBeLessThanOrEqual(1);
      return each;
    });
    const closed = () => parts.filter(({ websocket }) => websocket.closedWith !== undefined).length;
    // The first was told 1,200 ms ago, the last 300.
    for (const expected of [1, 2, 3, 4]) {
      expect(closed()).toBe(expected);
      vi.advanceTimersByTime(300);
    }
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is closed also where it is not read, or does not read", () => {
    const lifetimes = new Lifetimes(() => performance.now());
    const [paused, slow] = [open(), open()];
    paused.connection.pauseReading("unanswered");
    slow.sink.stall();
    slow.connection.writer.write(Buffer.alloc(100_000));
    slow.connection.writer.flush();
    for (const { connection } of [paused, slow]) lifetimes.end(connection);
    vi.advanceTimersByTime(1000);
    for (const { websocket } of [paused, slow]) {
      expect(websocket.closedWith?.code).toBe(CloseCode.LIFETIME);
      expect(websocket.isPaused).toBe(false);
    }
  });

  it("is left alone where it has gone by itself", () => {
    const lifetimes = new Lifetimes(() => performance.now());
    const { connection, websocket, closed } = open();
    lifetimes.end(connection);
    websocket.gone();
    vi.advanceTimersByTime(2000);
    expect(websocket.closedWith).toBeUndefined();
    expect(closed.map(({ reason }) => reason)).toEqual(["client"]);
  });

  it("is nobody's business after the end of the edge", () => {
    const lifetimes = new Lifetimes(() => performance.now());
    const { connection, websocket } = open();
    lifetimes.end(connection);
    lifetimes.stop();
    vi.advanceTimersByTime(2000);
    expect(websocket.closedWith).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });
});
