/**
 * Closes sockets when their token ends, and warns a while before. A socket is warned once for each token; where less
 * is left of it from the start, as soon as its session is open, because a client hears nothing before its `welcome`.
 */
import { CloseCode } from "#proto/close-codes.js";
import { encodeServerFrame } from "#proto/frame-codec.js";
import type { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { Deadlines } from "./deadlines.js";
import type { EdgeCounters } from "./edge-counters.js";
import type { SessionSocket } from "./session/edge-session.js";

/** A session whose token ends. */
export interface ExpiringSession {
  readonly framing: Framing;
  readonly socket: Pick<SessionSocket, "writer" | "frame" | "close">;
  /** Empty until a home has welcomed it. */
  readonly state: Uint8Array;
}

export interface TokenExpiryOptions {
  /** How long before the end; 0: nobody is warned. */
  readonly warningMs: number;
  readonly counters: Pick<EdgeCounters, "tokenWarnings">;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly nowMs: () => number;
}

interface Watched {
  readonly expiresAtMs: number;
  isWarned: boolean;
}

/** Until a session is open it is looked at so often. */
const NOT_OPEN_RETRY_MS = 250;

export class TokenExpiry {
  readonly #options: TokenExpiryOptions;
  readonly #watched = new Map<ExpiringSession, Watched>();
  readonly #deadlines: Deadlines<ExpiringSession>;

  constructor(options: TokenExpiryOptions) {
    this.#options = options;
    const { nowMs } = options;
    this.#deadlines = new Deadlines({ nowMs, due: (session) => this.#due(session) });
  }

  /** The session has a token that ends then; 0: never. An earlier one counts no more. */
  watch(session: ExpiringSession, expiresAtMs: number): void {
    if (expiresAtMs === 0) {
      this.forget(session);
      return;
    }
    const isWarned = this.#options.warningMs === 0;
    this.#watched.set(session, { expiresAtMs, isWarned });
    this.#deadlines.set(session, isWarned ? expiresAtMs : expiresAtMs - this.#options.warningMs);
  }

  forget(session: ExpiringSession): void {
    this.#watched.delete(session);
    this.#deadlines.delete(session);
  }

  stop(): void {
    this.#watched.clear();
    this.#deadlines.stop();
  }

  #due(session: ExpiringSession): void {
    const watched = this.#watched.get(session);
    if (watched === undefined) return;
    const { expiresAtMs } = watched;
    const leftMs = expiresAtMs - this.#options.nowMs();
    if (leftMs <= 0) {
      this.#watched.delete(session);
      session.socket.close(CloseCode.TOKEN_EXPIRED, "the token has expired");
      return;
    }
    if (!watched.isWarned && session.state.length === 0) {
      this.#deadlines.set(session, Math.min(expiresAtMs, this.#options.nowMs() + NOT_OPEN_RETRY_MS));
      return;
    }
    if (!watched.isWarned) {
      watched.isWarned = true;
      this.#options.counters.tokenWarnings += 1;
      const body = { $case: "tokenExpiring", value: { expiresInMs: leftMs } } as const;
      const payload = encodeServerFrame(session.framing, { replyTo: 0, body });
      session.socket.writer.write(session.socket.frame(payload));
    }
    this.#deadlines.set(session, expiresAtMs);
  }
}
