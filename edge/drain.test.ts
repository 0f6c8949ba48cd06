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
    client.connection.opened(client.session);
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
  const closed = (): number => all.filter(({ websocket }) => websocket.closedWith !== undefined).length;
  return { connections, all, closed };
}

type Client = ReturnType<typeof clients>["all"][number];

/** What a client was told to wait; undefined where it was told nothing. */
function afterMs({ sink }: Client): number | undefined {
  const [frame] = sink.writes;
  if (frame === undefined) return undefined;
  const { body } = ServerFrame.decode(new Uint8Array(frame.subarray(2)));
  return body?.$case === "reconnect" ? body.value.afterMs : undefined;
}

describe("draining", () => {
  it("tells everybody at once how long to wait: shares that lie evenly over the window", async () => {
    const { connections, all } = clients(900);
    const draining = drain({ windowMs: WINDOW_MS, connections });
    await vi.advanceTimersByTimeAsync(20);
    const told = all.map(afterMs);
    for (let fromMs = 0; fromMs < WINDOW_MS - 1000; fromMs += 500) {
      const share = told.filter((each = -1) => each >= fromMs && each < fromMs + 500).length;
      expect(share).toBeGreaterThanOrEqual(45);
      expect(share).toBeLessThanOrEqual(55);
    }
    expect(Math.max(...told.map((each = Infinity) => each))).toBeLessThanOrEqual(WINDOW_MS - 1000);
    await vi.advanceTimersByTimeAsync(WINDOW_MS);
    await draining;
  });

  it("closes each a moment after the time that it was told, and nobody before", async () => {
    const { connections, all, closed } = clients(300);
    const draining = drain({ windowMs: WINDOW_MS, connections });
    for (let nowMs = 100; nowMs < WINDOW_MS; nowMs += 100) {
      await vi.advanceTimersByTimeAsync(100);
      for (const client of all) {
        const { websocket } = client;
        const dueMs = (afterMs(client) ?? NaN) + 1000;
        if (nowMs < dueMs) expect(websocket.closedWith).toBeUndefined();
        else if (nowMs >= dueMs + 200) expect(websocket.closedWith?.code).toBe(CloseCode.DRAINING);
      }
    }
    await vi.advanceTimersByTimeAsync(200);
    await draining;
    expect(closed()).toBe(300);
  });

  it("does not send them away in the order in which they came: the next edge shall not fill in theirs", async () => {
    const { connections, all } = clients(100);
    const draining = drain({ windowMs: WINDOW_MS, connections, random: () => 0 });
    await vi.advanceTimersByTimeAsync(WINDOW_MS);
    await draining;
    const told = all.map((client) => afterMs(client) ?? NaN);
    expect(told).not.toEqual(told.toSorted((left, right) => left - right));
  });

  it("takes turns of the event loop for telling many, so that others are served between them", async () => {
    const { connections, all } = clients(1200);
    const told = () =>
      all.filter(({ connection, sink }) => sink.writes.length > 0 || connection.writer.queuedBytes > 0);
    const draining = drain({ windowMs: WINDOW_MS, connections });
    expect(told()).toHaveLength(500);
    await vi.advanceTimersByTimeAsync(1);
    expect(told()).toHaveLength(1200);
    await vi.advanceTimersByTimeAsync(WINDOW_MS);
    await draining;
  });

  it("does not wait for clients that left by themselves, earlier than told or not", async () => {
    const { connections } = clients(100);
    let isOver = false;
    const draining = drain({ windowMs: WINDOW_MS, connections }).then(() => (isOver = true));
    await vi.advanceTimersByTimeAsync(500);
    connections.clear();
    await vi.advanceTimersByTimeAsync(100);
    await draining;
    expect(isOver).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("has one timer, however many clients there are", async () => {
    const { connections } = clients(200);
    const draining = drain({ windowMs: WINDOW_MS, connections });
    for (let nowMs = 0; nowMs < WINDOW_MS; nowMs += 500) {
      await vi.advanceTimersByTimeAsync(500);
      expect(vi.getTimerCount()).toBeLessThanOrEqual(1);
    }
    await draining;
  });

  it("closes those who came in while the others were told, at the end of the window", async () => {
    const { connections } = clients(10);
    const draining = drain({ windowMs: 2000, connections });
    await vi.advanceTimersByTimeAsync(1000);
    const late = edgeConnection();
    late.connection.opened(late.session);
    late.websocket.on("close", () => connections.delete(late.connection));
    connections.add(late.connection);
    await vi.advanceTimersByTimeAsync(1200);
    expect(late.websocket.closedWith?.code).toBe(CloseCode.DRAINING);
    late.websocket.gone();
    await vi.advanceTimersByTimeAsync(100);
    await draining;
    expect(late.websocket.terminated).toBe(0);
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
