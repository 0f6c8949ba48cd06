/** A session of an edge whose socket is in the test's hand: what was written to it, and whether it is read. */
import type { EdgeLink } from "#edge/link/edge-link.js";
import { EdgeCounters } from "#edge/edge-counters.js";
import { EdgeSession, type PauseReason, type SessionSocket } from "#edge/session/edge-session.js";
import { SocketWriter, WriteTurn } from "#edge/socket/socket-writer.js";
import { Framing, Principal } from "#proto/gen/realtime/link/v1/link.js";
import { StalledSink } from "./stalled-sink.js";

/** Frames are text, shorter than 126 bytes. */
export class FakeSocket implements SessionSocket {
  readonly sink = new StalledSink();
  readonly writer: SocketWriter;
  readonly pausedFor = new Set<PauseReason>();
  closedWith: { code: number; reason: string } | undefined;
  /** Called when reading goes on, as a socket that had read ahead would send more at once. */
  onResumed: () => void = () => undefined;

  constructor() {
    this.writer = new SocketWriter({
      socket: this.sink,
      turn: new WriteTurn(),
      limits: { conflateBytes: 65_536, closeBytes: 1_048_576 },
      counters: new EdgeCounters(),
      backlogged: new Set(),
      onSlow: () => undefined,
    });
  }

  frame(payload: Uint8Array): Buffer {
    return Buffer.concat([Buffer.from([0x81, payload.length]), payload]);
  }

  close(code: number, reason: string): void {
    this.closedWith ??= { code, reason };
  }

  pauseReading(reason: PauseReason): void {
    this.pausedFor.add(reason);
  }

  resumeReading(reason: PauseReason): void {
    this.pausedFor.delete(reason);
    if (this.pausedFor.size === 0) this.onResumed();
  }

  /** The payloads of all frames written so far. */
  get written(): string[] {
    this.writer.flush();
    const { bytes } = this.sink;
    const payloads: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 2 + (bytes[at + 1] ?? 0);
      payloads.push(bytes.subarray(at + 2, end).toString());
      at = end;
    }
    return payloads;
  }
}

export interface SessionOnFakeSocket {
  readonly session: EdgeSession<EdgeLink>;
  readonly socket: FakeSocket;
}

export function sessionOnFakeSocket(
  number: number,
  options: { userId?: string; framing?: Framing; awaitsResume?: boolean } = {},
): SessionOnFakeSocket {
  const socket = new FakeSocket();
  const userId = options.userId ?? `u${number}`;
  const session = new EdgeSession<EdgeLink>({
    number,
    principal: Principal.fromPartial({ app: "default", userId, role: "customer" }),
    framing: options.framing ?? Framing.FRAMING_JSON,
    connectionId: `c${number}`,
    deviceId: "",
    platform: "",
    replyTo: 0,
    traceparent: "",
    awaitsResume: options.awaitsResume ?? false,
    followOwn: false,
    heartbeatIntervalMs: 25_000,
    socket,
  });
  return { session, socket };
}

export const text = (value: string): Uint8Array => new TextEncoder().encode(value);
