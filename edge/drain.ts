/**
 * Draining an edge: every client is told at once how long to wait before it connects again, each its own
 * share of the window, and is closed a moment after that. Nobody waits for clients that left by themselves,
 * and whoever is left at the end is cut. One stepper for all: no client costs a timer.
 */
import { CloseCode } from "#proto/close-codes.js";
import { ReconnectReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import { GRACE_MS, ReconnectFrames } from "./reconnect-frames.js";
import type { Connection } from "./socket/connection.js";

export interface DrainOptions {
  readonly windowMs: number;
  readonly connections: ReadonlySet<Connection>;
  readonly random?: () => number;
}

interface Departure {
  readonly connection: Connection;
  readonly afterMs: number;
}

const STEP_MS = 100;
/** Told within one turn of the event loop: a millisecond or two. */
const TOLD_PER_TURN = 500;
/** For the closing handshakes of clients that answer slowly. */
const CLOSE_WAIT_MS = 3000;

/** Resolves when every socket is closed, at the latest a few seconds after the window. */
export async function drain({ windowMs, connections, random = Math.random }: DrainOptions): Promise<void> {
  const startedMs = performance.now();
  const graceMs = Math.min(GRACE_MS, windowMs);
  const departures = spread(connections, { overMs: windowMs - graceMs, random });
  await tellAll(departures);
  let next = 0;
  for (;;) {
    const elapsedMs = performance.now() - startedMs;
    for (; (departures[next]?.afterMs ?? Infinity) + graceMs <= elapsedMs; next += 1) {
      close(departures[next]?.connection);
    }
    // Also those whose handshake was under way when the others were told.
    if (elapsedMs >= windowMs) for (const connection of [...connections]) close(connection);
    if (connections.size === 0 || elapsedMs >= windowMs + CLOSE_WAIT_MS) break;
    await after(STEP_MS);
  }
  for (const connection of [...connections]) connection.terminate();
}

/**
 * Evenly over the time, with jitter, in whole steps, and in random order: sockets that came together shall
 * not leave together.
 */
function spread(
  connections: Iterable<Connection>,
  { overMs, random }: { overMs: number; random: () => number },
): readonly Departure[] {
  const shuffled = shuffle([...connections], random);
  return shuffled.map((connection, index) => {
    const dueMs = ((index + random()) / shuffled.length) * overMs;
    return { connection, afterMs: Math.floor(dueMs / STEP_MS) * STEP_MS };
  });
}

async function tellAll(departures: readonly Departure[]): Promise<void> {
  let frames: ReconnectFrames | undefined;
  for (const [index, { connection, afterMs }] of departures.entries()) {
    if (frames?.afterMs !== afterMs) {
      frames = new ReconnectFrames(ReconnectReason.RECONNECT_REASON_DRAINING, afterMs);
    }
    frames.tell(connection);
    if (index % TOLD_PER_TURN === TOLD_PER_TURN - 1) await turn();
  }
}

function close(connection: Connection | undefined): void {
  connection?.close(CloseCode.DRAINING, "the edge is being replaced; reconnect");
}

function shuffle<T>(items: T[], random: () => number): T[] {
  for (let index = items.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    const [left, right] = [items[index], items[other]];
    if (left !== undefined && right !== undefined) [items[index], items[other]] = [right, left];
  }
  return items;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function after(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
