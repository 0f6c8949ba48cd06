/**
 * `authenticate` on a live socket: the session goes on with another token of the same user, app and role. Another
 * role would be another session: what it follows and may do was decided for this one. What is refused leaves the
 * session as it was, with the token that it had.
 */
import { GatewayError } from "#proto/errors.js";
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Revocations } from "#fanout/revocation/revocations.js";
import type { FanoutCounters } from "#fanout/fanout-counters.js";
import type { FrameHandler } from "../frame-handler.js";
import type { Session } from "../session.js";
import type { TokenChecks } from "../token-checks.js";
import { REVOKED_MESSAGE } from "../token-watch.js";

const FIELD = "authenticate.token";

export function authenticateHandler(options: {
  readonly checks: Pick<TokenChecks, "ask">;
  readonly revocations: Pick<Revocations, "revokes">;
  readonly counters: Pick<FanoutCounters, "tokensRefreshed">;
  /** What depends on the token is to be brought up to date. */
  readonly refreshed: (session: Session, before: Principal) => void;
}): FrameHandler<"authenticate"> {
  return async ({ session }, { token, userType }) => {
    const before = session.principal;
    if (token === "") throw new GatewayError("invalid_argument", "a token must be given", { field: FIELD });
    const principal = await options.checks
      // A role that the client had chosen itself is chosen again: the token alone would not say it.
      .ask(session, token, userType === "" ? before.role : userType)
      .catch((thrown: unknown) => {
        // The client has named no user type that the token could contradict.
        const isOfRole = thrown instanceof GatewayError && thrown.kind === "permission_denied";
        throw isOfRole && userType === "" ? forAnotherRole() : thrown;
      });
    if (session.isEnded) throw new GatewayError("unavailable", "the session lives elsewhere");
    mustBeSame(before, principal);
    if (options.revocations.revokes(principal)) {
      throw new GatewayError("unauthenticated", REVOKED_MESSAGE, { field: FIELD });
    }
    session.refresh(principal);
    options.counters.tokensRefreshed += 1;
    options.refreshed(session, before);
    return undefined;
  };
}

function mustBeSame(before: Principal, now: Principal): void {
  if (now.app !== before.app || now.userId !== before.userId) {
    throw new GatewayError("permission_denied", "the token is another user's: connect again", {
      field: FIELD,
    });
  }
  if (now.role !== before.role) throw forAnotherRole();
}

function forAnotherRole(): GatewayError {
  return new GatewayError("permission_denied", "the token is for another role: connect again", {
    field: FIELD,
  });
}
