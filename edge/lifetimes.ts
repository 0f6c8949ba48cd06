/**
 * Ends connections that have lived their time, so that load spreads to edges that came later: each is told
 * to connect again at once, and closed a moment after, when it has had the time to open the next socket. When a
 * connection's time is over the heartbeat's sweep finds out; here is one timer for all that were told.
 */
import { CloseCode } from "#proto/close-codes.js";
import { ReconnectReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import { GRACE_MS, ReconnectFrames } from "./reconnect-frames.js";
import type { Connection } from "./socket/connection.js";

/** Each connection lives so much longer or shorter than the configured time: those of one moment part. */
const JITTER = 0.2;

/** Until when a connection that opens now may live; 0: for ever. */
export function livesUntil(options: { nowMs: number; lifetimeMs: number; random: number }): number {
  const { nowMs, lifetimeMs, random } = options;
  return lifetimeMs === 0 ? Infinity : nowMs + lifetimeMs * (1 - JITTER + 2 * JITTER * random);
}

export class Lifetimes {
  readonly #frames = new ReconnectFrames(ReconnectReason.RECONNECT_REASON_LIFETIME, 0);
  readonly #nowMs: () => number;
  /** In the order in which they were told. */
  #told: { readonly connection: Connection; readonly closeAtMs: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  end(connection: Connection): void {
    this.#frames.tell(connection);
    this.#told.push({ connection, closeAtMs: this.#nowMs() + GRACE_MS });
    this.#timer ??= setTimeout(this.#closeDue, GRACE_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#told = [];
  }

  readonly #closeDue = (): void => {
    const nowMs = this.#nowMs();
    const notYet = this.#told.findIndex(({ closeAtMs }) => closeAtMs > nowMs);
    const due = this.#told.splice(0, notYet === -1 ? this.#told.length : notYet);
    for (const { connection } of due)
      connection.close(CloseCode.LIFETIME, "the connection has lived its time");
    const [next] = this.#told;
    this.#timer = next && setTimeout(this.#closeDue, Math.max(1, next.closeAtMs - nowMs));
  };
}
