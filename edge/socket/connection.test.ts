import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { GatewayError } from "#proto/errors.js";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { edgeConnection, FIRST_FRAME_DEADLINE_MS } from "#test/support/edge-connection.js";
import type { StalledSink } from "#test/support/stalled-sink.js";
import { pingFrame as heartbeatFrame } from "./websocket-frame.js";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(() => {
  vi.useRealTimers();
});

function openConnection(framing?: Framing, taking = false) {
  const parts = edgeConnection(framing, taking);
  parts.connection.opened(parts.session);
  return parts;
}

const authenticateFrame = Buffer.from(
  ClientFrame.encode({
    ...ClientFrame.fromPartial({ id: 7 }),
    body: {
      $case: "authenticate",
      value: { token: "t", deviceId: "d", platform: "", userType: "", resumes: false, followOwn: false },
    },
  }).finish(),
);
const pingFrame = Buffer.from(
  ClientFrame.encode({
    ...ClientFrame.fromPartial({ id: 9 }),
    body: { $case: "ping", value: { clientTimeMs: 0 } },
  }).finish(),
);

/** The last frame written, which is shorter than 126 bytes, without its header. */
function lastFrame(sink: StalledSink): ServerFrame {
  const write = sink.writes.at(-1) ?? Buffer.alloc(2);
  return ServerFrame.decode(new Uint8Array(write.subarray((write[1] ?? 0) === 126 ? 4 : 2)));
}

describe("before a session is open", () => {
  it("the first frame must come within the deadline", () => {
    const { websocket, connection } = edgeConnection();
    vi.advanceTimersByTime(FIRST_FRAME_DEADLINE_MS - 1);
    expect(websocket.closedWith).toBeUndefined();
    vi.advanceTimersByTime(1);
    expect(websocket.closedWith?.code).toBe(CloseCode.AUTHENTICATION_TIMEOUT);
    expect(connection.opened(edgeConnection().session)).toBe(false);
  });

  it.each(["opened", "gone"] as const)("the deadline ends when the connection is %s", (how) => {
    const { websocket, connection, session } = edgeConnection();
    if (how === "opened") connection.opened(session);
    else websocket.gone();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(FIRST_FRAME_DEADLINE_MS * 10);
    expect(websocket.closedWith).toBeUndefined();
  });

  it("an authenticate frame is passed on, and nothing is read while its token is checked", () => {
    const { websocket, requests, connection, session, frames } = edgeConnection();
    websocket.receive(authenticateFrame);
    expect(requests).toMatchObject([{ frameId: 7, request: { token: "t", deviceId: "d" } }]);
    expect(websocket.isPaused).toBe(true);
    websocket.receive("early", true);
    expect(frames).toEqual([]);
    connection.opened(session);
    expect(frames).toEqual(["early"]);
    expect(websocket.isPaused).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([
    ["another body", pingFrame, 9],
    ["no frame at all", Buffer.from([0xff, 0xff]), 0],
    ["a frame without a body", Buffer.from([0x08, 0x05]), 5],
  ])("%s as the first frame is answered and closed as unauthenticated", (_what, data, replyTo) => {
    const { websocket, sink, requests } = edgeConnection();
    websocket.receive(data);
    expect(lastFrame(sink)).toMatchObject({ replyTo, body: { $case: "error" } });
    expect(websocket.closedWith?.code).toBe(CloseCode.UNAUTHENTICATED);
    websocket.receive(authenticateFrame);
    expect(requests).toEqual([]);
  });

  it("who sends too much before the welcome is closed", () => {
    const { websocket, connection, session, frames } = edgeConnection();
    websocket.receive(authenticateFrame);
    for (let count = 0; count <= 16; count += 1) websocket.receive(pingFrame);
    expect(websocket.closedWith?.code).toBe(CloseCode.PROTOCOL_ERROR);
    expect(connection.opened(session)).toBe(false);
    expect(frames).toEqual([]);
  });
});

describe("an open connection", () => {
  it("passes frames on as they are, without reading them", () => {
    const { websocket, frames } = openConnection();
    websocket.receive("not protobuf at all", true);
    expect(frames).toEqual(["not protobuf at all"]);
  });

  it.each([
    [Framing.FRAMING_PROTOBUF, false],
    [Framing.FRAMING_JSON, true],
  ])("is closed for the other subprotocol's kind of frame (framing %i)", (framing, isBinary) => {
    const { websocket, frames } = openConnection(framing);
    websocket.receive("{}", isBinary);
    expect(websocket.closedWith?.code).toBe(CloseCode.PROTOCOL_ERROR);
    expect(frames).toEqual([]);
  });

  it("passes nothing on while it is paused, although ws had read on, and then goes on in order", () => {
    const { websocket, connection, frames } = openConnection();
    connection.pauseReading("unanswered");
    connection.pauseReading("link");
    for (const text of ["1", "2", "3"]) websocket.receive(text, true);
    connection.resumeReading("unanswered");
    expect(frames).toEqual([]);
    expect(websocket.isPaused).toBe(true);
    connection.resumeReading("link");
    expect(frames).toEqual(["1", "2", "3"]);
    expect(websocket.isPaused).toBe(false);
    websocket.receive("4", true);
    expect(frames).toEqual(["1", "2", "3", "4"]);
  });

  it("never has more than 32 frames of a burst unanswered, and forgets none of them", () => {
    const { websocket, session, frames } = openConnection(Framing.FRAMING_PROTOBUF, true);
    for (let index = 1; index <= 1000; index += 1) websocket.receive(String(index), true);
    expect(frames).toHaveLength(32);
    for (let answered = 1; answered <= 1000; answered += 1) {
      session.acknowledge(answered);
      expect(session.unanswered.length).toBeLessThanOrEqual(32);
    }
    expect(frames).toEqual(Array.from({ length: 1000 }, (_, index) => String(index + 1)));
    expect(websocket.isPaused).toBe(false);
  });

  it("passes on what a client had sent before it left", () => {
    const { websocket, connection, frames, closed } = openConnection();
    connection.pauseReading("unanswered");
    websocket.receive("last words", true);
    websocket.gone();
    expect(frames).toEqual(["last words"]);
    expect(closed.map(({ reason }) => reason)).toEqual(["client"]);
  });

  it("tells once that it has lived its time, by the steady clock, not before", () => {
    const { connection, session, livesOver } = edgeConnection(undefined, false, 60_000);
    connection.opened(session);
    connection.visited(59_999);
    expect(livesOver).toEqual([]);
    for (const steadyMs of [60_000, 90_000]) connection.visited(steadyMs);
    expect(livesOver).toEqual([connection]);
  });

  it("tells of pongs with the number that they carry, of others with none, and all are signs of life", () => {
    const { connection, session, websocket, pongs } = openConnection();
    connection.takeSignOfLife();
    for (const payload of [heartbeatFrame(7).subarray(2), Buffer.from("7"), Buffer.alloc(0)]) {
      websocket.emit("pong", payload);
      expect(connection.takeSignOfLife()).toBe(true);
    }
    expect(pongs).toEqual([7, 0, 0].map((ping) => ({ session, ping })));
  });

  it("is not asked to confirm by a ping that was dropped because it reads slowly", () => {
    const { connection, session, sink } = openConnection();
    const pinged = vi.spyOn(session.confirmed, "pinged");
    session.home = { at: "link", link: undefined as never };
    sink.stall();
    connection.writer.write(Buffer.alloc(100_000));
    connection.writer.flush();
    connection.ping({ number: 1, frame: heartbeatFrame(1) });
    expect(pinged).not.toHaveBeenCalled();
    sink.flow();
    connection.ping({ number: 2, frame: heartbeatFrame(2) });
    expect(pinged).toHaveBeenCalledExactlyOnceWith(2, session);
  });

  it("counts as alive while the edge itself does not read it", () => {
    const { connection } = openConnection();
    connection.takeSignOfLife();
    expect(connection.takeSignOfLife()).toBe(false);
    connection.pauseReading("unanswered");
    expect(connection.takeSignOfLife()).toBe(true);
  });
});

describe("the end of a connection", () => {
  it("is told once, gives its place back, and keeps nothing", () => {
    const { websocket, connection, session, closed, admission, backlogged } = openConnection();
    connection.slot.opened();
    expect(admission.occupancy).toEqual({ connections: 1, pendingHandshakes: 0 });
    connection.close(CloseCode.DRAINING, "bye");
    connection.close(CloseCode.SLOW, "again");
    websocket.gone();
    websocket.gone();
    expect(closed).toEqual([{ session, reason: "draining" }]);
    expect(websocket.closedWith).toEqual({ code: CloseCode.DRAINING, reason: "bye" });
    expect(admission.occupancy).toEqual({ connections: 0, pendingHandshakes: 0 });
    expect(backlogged.size).toBe(0);
  });

  it("comes after everything that was written before it, and nothing follows", () => {
    const { connection, sink, websocket, frames } = openConnection();
    connection.writer.write(Buffer.from("before"));
    connection.close(CloseCode.KICKED, "bye");
    connection.writer.write(Buffer.from("after"));
    connection.writer.flush();
    websocket.receive("late", true);
    expect(sink.bytes.toString()).toBe("before");
    expect(frames).toEqual([]);
  });

  it("reads on where it was paused: the peer's close would not be seen else", () => {
    const { connection, websocket } = openConnection();
    connection.pauseReading("unanswered");
    connection.close(CloseCode.SLOW, "bye");
    expect(websocket.isPaused).toBe(false);
  });

  it("is a protocol error where ws found one, and nothing is written behind its close frame", () => {
    const { connection, websocket, sink, closed } = openConnection();
    websocket.emit("error", new RangeError("Max payload size exceeded"));
    connection.writer.write(Buffer.from("late"));
    connection.writer.flush();
    websocket.gone();
    expect(sink.bytes).toHaveLength(0);
    expect(closed.map(({ reason }) => reason)).toEqual(["protocol"]);
  });

  it.each(["é".repeat(200), "😀".repeat(100), `a${"é".repeat(100)}`, "x".repeat(1000)])(
    "cuts a long reason to what a close frame holds, at a whole character",
    (reason) => {
      const { connection, websocket } = openConnection();
      connection.close(CloseCode.KICKED, reason);
      const told = websocket.closedWith?.reason ?? "";
      expect(reason.startsWith(told)).toBe(true);
      expect(Buffer.byteLength(told)).toBeGreaterThan(118);
    },
  );

  it.each([0, 1005, 2999, 70_000])("turns the code %i, which must not be sent, into our own", (code) => {
    const { connection, websocket } = openConnection();
    connection.close(code, "");
    expect(websocket.closedWith?.code).toBe(CloseCode.INTERNAL);
  });

  it("is cut where the peer does not answer the close either", () => {
    const { connection, websocket } = openConnection();
    connection.heartbeatMissed();
    expect(websocket.closedWith?.code).toBe(CloseCode.HEARTBEAT_MISSED);
    expect(websocket.terminated).toBe(0);
    connection.heartbeatMissed();
    expect(websocket.terminated).toBe(1);
  });

  it("says why in a frame before the code where a token is refused", () => {
    const { connection, sink, websocket } = edgeConnection();
    connection.refuse(new GatewayError("expired", "the token has expired"), CloseCode.TOKEN_EXPIRED, 3);
    expect(lastFrame(sink)).toMatchObject({ replyTo: 3, body: { value: { code: 6 } } });
    expect(websocket.closedWith?.code).toBe(CloseCode.TOKEN_EXPIRED);
  });
});
