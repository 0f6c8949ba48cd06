/**
 * A connection of an edge over a fake `ws` WebSocket and a socket in the test's hand, with everything else
 * real; what it reports is noted.
 */
import { Admission } from "#edge/admission/admission.js";
import { OriginList } from "#edge/admission/origin.js";
import { EdgeCounters } from "#edge/edge-counters.js";
import type { LinkedSession } from "#edge/link/edge-link.js";
import { EdgeSession } from "#edge/session/edge-session.js";
import { Connection } from "#edge/socket/connection.js";
import { WriteTurn, type SocketWriter } from "#edge/socket/socket-writer.js";
import type { Authenticate } from "#proto/gen/realtime/client/v1/client_frame.js";
import { Framing, Principal } from "#proto/gen/realtime/link/v1/link.js";
import { FakeWebSocket } from "./fake-websocket.js";
import { StalledSink } from "./stalled-sink.js";

export const FIRST_FRAME_DEADLINE_MS = 1000;

/** `taking`: the session takes frames as it does in an edge, so that they wait for answers. */
export function edgeConnection(
  framing: Framing = Framing.FRAMING_PROTOBUF,
  taking = false,
  livesUntilMs = Infinity,
) {
  const websocket = new FakeWebSocket();
  const sink = new StalledSink();
  const admission = new Admission({ origins: new OriginList(["*"]) });
  const decision = admission.admit({ address: "192.0.2.1", origin: undefined, nowMs: 0 });
  if (!decision.admitted) throw new Error("refused");
  const frames: string[] = [];
  const requests: { request: Authenticate; frameId: number }[] = [];
  const pongs: { session: LinkedSession; ping: number }[] = [];
  const livesOver: Connection[] = [];
  const closed: { session: LinkedSession | undefined; reason: string }[] = [];
  const backlogged = new Set<SocketWriter>();
  const connection = new Connection({
    websocket: websocket.asWebSocket(),
    socket: sink,
    framing,
    connectionId: "c1",
    slot: decision.slot,
    openedAtMs: 0,
    livesUntilMs,
    announcedResume: false,
    announcedFollowOwn: false,
    firstFrameDeadlineMs: FIRST_FRAME_DEADLINE_MS,
    listener: {
      authenticate: (_connection, request, frameId) => requests.push({ request, frameId }),
      frame: (session, payload) => {
        if (taking) session.take(payload, 0);
        frames.push(Buffer.from(payload).toString());
      },
      pong: (ofSession, ping) => pongs.push({ session: ofSession, ping }),
      lifetimeOver: (over) => livesOver.push(over),
      closed: (_connection, session, reason) => closed.push({ session, reason }),
    },
    writer: {
      turn: new WriteTurn(),
      limits: { conflateBytes: 65_536, closeBytes: 1_048_576 },
      counters: new EdgeCounters(),
      backlogged,
    },
  });
  const session: LinkedSession = new EdgeSession({
    number: 1,
    principal: Principal.fromPartial({ app: "default", userId: "u1" }),
    framing,
    connectionId: "c1",
    deviceId: "",
    platform: "",
    replyTo: 0,
    traceparent: "",
    awaitsResume: false,
    followOwn: false,
    heartbeatIntervalMs: 25_000,
    socket: connection,
  });
  const reported = { frames, requests, pongs, livesOver, closed };
  return { websocket, sink, admission, connection, session, backlogged, ...reported };
}
