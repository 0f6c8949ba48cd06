/**
 * Draining an edge: it takes no new sockets, tells the ones it has to reconnect in jittered batches spread
 * over the window, and closes each a moment after it was told. Whoever is left at the end is closed.
 */
import { CloseCode } from "#proto/close-codes.js";
import { encodeServerFrame } from "#proto/frame-codec.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { ReconnectReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Connection } from "./socket/connection.js";

export interface DrainOptions {
  readonly windowMs: number;
  readonly connections: ReadonlySet<Connection>;
  readonly random?: () => number;
}

/** From being told to being closed: time to open the next socket first. */
const GRACE_MS = 1000;
const STEP_MS = 100;
const FRAMINGS = [Framing.FRAMING_PROTOBUF, Framing.FRAMING_JSON] as const;

/** Resolves when every socket is closed, at the latest a few seconds after the window. */
export async function drain({ windowMs, connections, random = Math.random }: DrainOptions): Promise<void> {
  const frames = new Map<Framing, Uint8Array>(FRAMINGS.map((framing) => [framing, tell(framing)]));
  const waiting = shuffle([...connections], random);
  const spreadMs = Math.max(windowMs - GRACE_MS, 0);
  const steps = Math.max(1, Math.ceil(spreadMs / STEP_MS));
  const closing: Promise<void>[] = [];
  for (let step = 1; step <= steps && waiting.length > 0; step += 1) {
    const batch = waiting.splice(0, Math.ceil(waiting.length / (steps - step + 1)));
    for (const connection of batch) {
      const payload = frames.get(connection.framing);
      if (payload !== undefined && connection.isOpen) connection.writer.write(connection.frame(payload));
    }
    closing.push(
      after(Math.min(GRACE_MS, windowMs)).then(() => {
        for (const connection of batch)
          connection.close(CloseCode.DRAINING, "the edge is being replaced; reconnect");
      }),
    );
    if (waiting.length > 0) await after(STEP_MS);
  }
  await Promise.all(closing);
  for (let waitedMs = 0; connections.size > 0 && waitedMs < CLOSE_WAIT_MS; waitedMs += STEP_MS)
    await after(STEP_MS);
  for (const connection of [...connections]) connection.terminate();
}

/** For the closing handshakes of clients that answer slowly. */
const CLOSE_WAIT_MS = 3000;

function tell(framing: Framing): Uint8Array {
  return encodeServerFrame(framing, {
    replyTo: 0,
    body: { $case: "reconnect", value: { reason: ReconnectReason.RECONNECT_REASON_DRAINING, afterMs: 0 } },
  });
}

function shuffle<T>(items: T[], random: () => number): T[] {
  for (let index = items.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    const [left, right] = [items[index], items[other]];
    if (left !== undefined && right !== undefined) [items[index], items[other]] = [right, left];
  }
  return items;
}

function after(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
