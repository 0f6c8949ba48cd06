/**
 * Has tokens that came on live sockets checked by the edge of the socket, which has the keys. A session deals with
 * one frame after the other, so it has one check under way at most. An edge that dies or hangs costs a time-out.
 */
import { ERROR_KINDS, GatewayError, type ErrorName } from "#proto/errors.js";
import { VERIFY_TOKEN_FEATURE } from "#proto/link/features.js";
import type { Error as ErrorMessage } from "#proto/gen/realtime/client/v1/errors.js";
import type { Principal, TokenVerified } from "#proto/gen/realtime/link/v1/link.js";
import type { Session } from "./session.js";

interface PendingCheck {
  readonly upSequence: number;
  readonly settle: (verified: TokenVerified["result"]) => void;
}

const ANSWER_TIMEOUT_MS = 10_000;
const RETRY_AFTER_MS = 1000;

export class TokenChecks {
  readonly #pending = new WeakMap<Session, PendingCheck>();

  /** Whom the token stands for. @throws GatewayError: why it cannot be trusted, or unavailable, unsupported. */
  async ask(session: Session, token: string, userType: string): Promise<Principal> {
    const { link, number, upSequenceInHand: upSequence } = session;
    if (!link.hasFeature(VERIFY_TOKEN_FEATURE)) {
      throw new GatewayError(
        "unsupported",
        "this edge is of an earlier release: connect again with the token",
      );
    }
    const result = await new Promise<TokenVerified["result"]>((resolve) => {
      const settle = (verified: TokenVerified["result"]): void => {
        clearTimeout(timer);
        this.#pending.delete(session);
        resolve(verified);
      };
      const timer = setTimeout(() => settle(undefined), ANSWER_TIMEOUT_MS).unref();
      this.#pending.set(session, { upSequence, settle });
      link.send({ $case: "verify", value: { session: number, upSequence, token, userType } });
    });
    if (result === undefined) {
      throw new GatewayError("unavailable", "the token could not be checked", {
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    if (result.$case === "error") throw toError(result.value);
    return result.value;
  }

  /** What the edge says. One that comes too late is nobody's. */
  answered(session: Session, { upSequence, result }: TokenVerified): void {
    const pending = this.#pending.get(session);
    if (pending?.upSequence === upSequence) pending.settle(result);
  }
}

function toError({ code, message, retryAfterMs }: ErrorMessage): GatewayError {
  const names = Object.keys(ERROR_KINDS) as ErrorName[];
  const kind = names.find((name) => ERROR_KINDS[name].code === code) ?? "internal";
  return new GatewayError(kind, message, {
    field: "authenticate.token",
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
