/**
 * The tokens that clients show, HS256 with a secret of this run: senders are porters, the others customers.
 * A user's token is made once and kept, so that one who comes back costs nothing.
 */
import { randomBytes } from "node:crypto";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { signToken } from "#services/token/sign-token.js";
import type { ClientPlan } from "../contestant.js";

/** Longer than any scenario. */
const TTL_SECONDS = 12 * 3600;

export class UserTokens {
  readonly secret = randomBytes(32).toString("hex");
  readonly #tokens = new Map<string, Promise<string>>();
  readonly #app: string | undefined;

  constructor(app?: string) {
    this.#app = app;
  }

  of({ userId, isSender }: ClientPlan): Promise<string> {
    const role = isSender ? "porter" : "customer";
    const key = `${role}/${userId}`;
    let token = this.#tokens.get(key);
    if (token === undefined) {
      const options = { ...DEFAULT_JWT_OPTIONS, secret: this.secret };
      token = signToken({ sub: userId, role, app: this.#app, ttlSeconds: TTL_SECONDS }, options);
      this.#tokens.set(key, token);
    }
    return token;
  }
}
