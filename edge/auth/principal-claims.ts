/**
 * Reads a principal out of the claims of a token whose signature and times were checked. Claims that
 * become names (user, role, app) are held to one alphabet here, because they go into keys, labels and
 * logs everywhere behind. Pure.
 */
import type { JWTPayload } from "jose";
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { AuthenticationError } from "./authentication-error.js";

export interface ClaimNames {
  readonly userClaim: string;
  readonly roleClaim: string;
  readonly appClaim: string;
  /** The app of tokens that name none. */
  readonly defaultApp: string;
  /** Claims that go on to the fanout as they are; all others end here. */
  readonly passedClaims: readonly string[];
}

/** The role of tokens that name none. */
export const ROLE_OF_ANYBODY = "user";

const NAME = /^[A-Za-z0-9_.@|+=-]{1,128}$/;
const MAX_TOKEN_ID_LENGTH = 256;

export function principalOf(payload: JWTPayload, names: ClaimNames): Principal {
  const userId = readUserId(payload, names.userClaim);
  if (userId === undefined) throw claimError(`the token has no claim "${names.userClaim}"`);
  return {
    app: readName(payload, names.appClaim) ?? names.defaultApp,
    userId,
    role: readName(payload, names.roleClaim) ?? ROLE_OF_ANYBODY,
    tokenId: readTokenId(payload),
    issuedAt: readSeconds(payload, "iat"),
    expiresAt: readSeconds(payload, "exp"),
    claimsJson: passedClaimsOf(payload, names.passedClaims),
  };
}

/** Whether a text may be the name of a user, a role or an app. */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/** Services that number their users put numbers into tokens. */
function readUserId(payload: JWTPayload, claim: string): string | undefined {
  const value = claimOf(payload, claim);
  return Number.isSafeInteger(value) ? String(value) : readName(payload, claim);
}

function readName(payload: JWTPayload, claim: string): string | undefined {
  const value = claimOf(payload, claim);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string" || !isName(value)) {
    throw claimError(`the token's claim "${claim}" must be 1 to 128 letters, digits or _ . @ | + = -`);
  }
  return value;
}

function readTokenId(payload: JWTPayload): string {
  const value = claimOf(payload, "jti");
  if (value === undefined || value === null) return "";
  if (typeof value !== "string" || value.length > MAX_TOKEN_ID_LENGTH) {
    throw claimError(`the token's claim "jti" must be a text of at most ${MAX_TOKEN_ID_LENGTH} characters`);
  }
  return value;
}

/** The JWT format allows fractions of seconds, and times that no clock will ever show. */
function readSeconds(payload: JWTPayload, claim: "iat" | "exp"): number {
  const value = claimOf(payload, claim);
  if (value === undefined) return 0;
  const seconds = typeof value === "number" ? Math.floor(value) : Number.NaN;
  if (!Number.isSafeInteger(seconds) || seconds < 0) {
    throw claimError(`the token's claim "${claim}" must be seconds since 1970`);
  }
  return seconds;
}

function passedClaimsOf(payload: JWTPayload, claims: readonly string[]): string {
  const passed = claims.filter((claim) => Object.hasOwn(payload, claim));
  if (passed.length === 0) return "";
  return JSON.stringify(Object.fromEntries(passed.map((claim) => [claim, payload[claim]])));
}

/** Own claims only: a claim may be configured to any name, and every object has a `constructor`. */
function claimOf(payload: JWTPayload, claim: string): unknown {
  return Object.hasOwn(payload, claim) ? payload[claim] : undefined;
}

function claimError(message: string): AuthenticationError {
  return new AuthenticationError("claims", message);
}
