/**
 * Sessions and the tokens that they came with: a session whose token is revoked does not begin, and one that lives
 * is closed as soon as it is known here. What is revoked is `fanout/revocation`'s to know.
 */
import { CloseCode } from "#proto/close-codes.js";
import { GatewayError } from "#proto/errors.js";
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Revocation } from "#fanout/revocation/revocation.js";
import type { Revocations } from "#fanout/revocation/revocations.js";
import { TokenHolders } from "#fanout/revocation/token-holders.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Session } from "./session.js";
import { SessionRefused } from "./session-refused.js";

export const REVOKED_MESSAGE = "the token is revoked; get a new one";

export interface TokenWatchOptions {
  readonly revocations: Pick<Revocations, "loaded" | "revokes">;
  readonly counters: Pick<FanoutCounters, "sessionsRevoked">;
}

export class TokenWatch {
  readonly #options: TokenWatchOptions;
  readonly #holders = new TokenHolders<Session>();
  /** Those that were closed: their sockets may take a moment to go. */
  readonly #closed = new WeakSet<Session>();

  constructor(options: TokenWatchOptions) {
    this.#options = options;
  }

  arrived(session: Session): void {
    this.#holders.add(session, session.principal);
  }

  left(session: Session): void {
    this.#holders.remove(session, session.principal);
  }

  /** It goes on with another token. */
  refreshed(session: Session, before: Principal): void {
    this.#holders.remove(session, before);
    if (!session.isEnded) this.#holders.add(session, session.principal);
  }

  /**
   * A new one waits until it is known what is revoked; a live one goes on, and is closed then if need be.
   * @throws SessionRefused; GatewayError unavailable.
   */
  async admit(session: Session, how: "new" | "live"): Promise<void> {
    const { revocations, counters } = this.#options;
    if (how === "new") await revocations.loaded();
    if (session.isEnded) throw new GatewayError("unavailable", "the connection is gone");
    if (!revocations.revokes(session.principal)) return;
    counters.sessionsRevoked += 1;
    this.#closed.add(session);
    throw new SessionRefused("unauthenticated", REVOKED_MESSAGE, CloseCode.TOKEN_REVOKED);
  }

  /** Closes those that came with one of these. */
  revoked(
    revocations: readonly Revocation[],
    ofUser: (app: string, userId: string) => Iterable<Session>,
  ): void {
    for (const { subject, app, id } of revocations) {
      for (const session of subject === "user" ? ofUser(app, id) : this.#holders.of(app, id)) {
        if (this.#closed.has(session) || !this.#options.revocations.revokes(session.principal)) continue;
        this.#closed.add(session);
        this.#options.counters.sessionsRevoked += 1;
        session.close(CloseCode.TOKEN_REVOKED, REVOKED_MESSAGE);
      }
    }
  }
}
