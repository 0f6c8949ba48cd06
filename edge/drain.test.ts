import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { edgeConnection } from "#test/support/edge-connection.js";
import { drain } from "./drain.js";
import type { Connection } from "./socket/connection.js";

const WINDOW_MS = 10_000;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** So many clients; each leaves when it is told to close, unless it never answers. */
function clients(count: number, { answer = true, framing }: { answer?: boolean; framing?: Framing } = {}) {
  const connections = new Set<Connection>();
  const all = Array.from({ length: count }, () => {
    const client = edgeConnection(framing);
    client.connection.opened(client.session, 0);
    connections.add(client.connection);
    const { websocket } = client;
    const close = websocket.close.bind(websocket);
    websocket.close = (code, reason) => {
      close(code, reason);
      if (answer) connections.delete(client.connection);
    };
    websocket.terminate = () => {
      websocket.terminated += 1;
      connections.delete(client.connection);
    };
    return client;
  });
  const told = (): number => all.filter(({ sink }) => sink.writes.length > 0).length;
  const closed = (): number => all.filter(({ websocket }) => websocket.closedWith !== undefined).length;
  return { connections, all, told, closed };
}

describe("draining", () => {
  it("tells everybody evenly over the window, and closes each a moment after", async () => {
    const { connections, told, closed, all } = clients(900);
    const draining = drain({ windowMs: WINDOW_MS, connections });
    let before = 0;
    for (let atMs = 0; atMs < WINDOW_MS - 1000; atMs += 500) {
      await vi.advanceTimersByTimeAsync(500);
      expect(told() - before).toBeGreaterThanOrEqual(40);
      expect(told() - before).toBeLessThanOrEqual(60);
      // A second's worth of clients was told and is not closed yet.
      expect(told() - closed()).toBeGreaterThanOrEqual(Math.min(told(), 90));
      before = told();
    }
    await vi.advanceTimersByTimeAsync(1000);
    await draining;
    expect([told(), closed()]).toEqual([900, 900]);
    expect(new Set(all.map(({ websocket }) => websocket.closedWith?.code))).toEqual(
      new Set([CloseCode.DRAINING]),
    );
  });

  it("does not tell them in the order in which they came: the next edge shall not fill in theirs", async () => {
    const { connections, all } = clients(100);
    const draining = drain({ windowMs: WINDOW_MS, connections, random: () => 0 });
    await vi.advanceTimersByTimeAsync(1000);
    const told = all
      .map(({ sink }, index) => (sink.writes.length > 0 ? index : -1))
      .filter((index) => index >= 0);
    expect(told.length).toBeGreaterThan(5);
    expect(told).not.toEqual(Array.from({ length: told.length }, (_, index) => index));
    await vi.advanceTimersByTimeAsync(WINDOW_MS);
    await draining;
  });

  it.each([Framing.FRAMING_PROTOBUF, Framing.FRAMING_JSON])(
    "tells why in the socket's framing (%i)",
    async (framing) => {
      const { connections, all } = clients(1, { framing });
      const draining = drain({ windowMs: 0, connections });
      await vi.advanceTimersByTimeAsync(200);
      await draining;
      const payload = all[0]?.sink.bytes.subarray(2) ?? Buffer.alloc(0);
      if (framing === Framing.FRAMING_JSON) {
        expect(JSON.parse(payload.toString())).toEqual({
          reconnect: { reason: "RECONNECT_REASON_DRAINING" },
        });
      } else expect(ServerFrame.decode(new Uint8Array(payload)).body?.$case).toBe("reconnect");
    },
  );

  it("cuts who does not answer the close, in time, and then ends", async () => {
    const { connections, all } = clients(3, { answer: false });
    let isOver = false;
    const draining = drain({ windowMs: 1000, connections }).then(() => (isOver = true));
    await vi.advanceTimersByTimeAsync(1500);
    expect(isOver).toBe(false);
    await vi.advanceTimersByTimeAsync(4000);
    await draining;
    expect(all.map(({ websocket }) => websocket.terminated)).toEqual([1, 1, 1]);
  });

  it("says nothing to a socket that is not open yet, and closes it all the same", async () => {
    const { connection, websocket, sink } = edgeConnection();
    const connections = new Set([connection]);
    const draining = drain({ windowMs: 0, connections });
    await vi.advanceTimersByTimeAsync(100);
    expect(websocket.closedWith?.code).toBe(CloseCode.DRAINING);
    expect(sink.writes).toEqual([]);
    connections.clear();
    await vi.advanceTimersByTimeAsync(200);
    await draining;
  });

  it("ends at once where nobody is there", async () => {
    const draining = drain({ windowMs: WINDOW_MS, connections: new Set() });
    await vi.advanceTimersByTimeAsync(0);
    await draining;
    expect(vi.getTimerCount()).toBe(0);
  });
});
