/**
 * Signs tokens as the gateway checks them: HS256 with the configured secret and the configured names of
 * claims. For development and tests: in production whoever knows the users signs.
 */
import { SignJWT } from "jose";
import type { JwtOptions } from "#edge/auth/jwt-verifier.js";

export interface TokenSubject {
  /** The user's id. */
  readonly sub: string;
  /** Absent: a plain user. */
  readonly role?: string | undefined;
  /** Absent: the default app. */
  readonly app?: string | undefined;
  /** More claims; those that the gateway reads win over them. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  readonly ttlSeconds: number;
}

export type SigningOptions = Pick<
  JwtOptions,
  "userClaim" | "roleClaim" | "appClaim" | "issuer" | "audience"
> & {
  readonly secret: string;
};

export function signToken(
  { sub, role, app, claims, ttlSeconds }: TokenSubject,
  options: SigningOptions,
  nowMs: number = Date.now(),
): Promise<string> {
  const issuedAt = Math.floor(nowMs / 1000);
  const token = new SignJWT({
    ...claims,
    [options.userClaim]: sub,
    ...(role !== undefined && { [options.roleClaim]: role }),
    ...(app !== undefined && { [options.appClaim]: app }),
  })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + ttlSeconds);
  if (options.issuer !== undefined) token.setIssuer(options.issuer);
  if (options.audience !== undefined) token.setAudience(options.audience);
  return token.sign(Buffer.from(options.secret, "utf8"));
}
