/**
 * Verifies JWTs: HS256 by secrets, RS256, ES256 and EdDSA by the keys of a JWKS URL.
 *
 * The header's algorithm chooses between two sets of keys that share nothing: HMAC keys, which can check
 * HS256 only, and public keys, each imported for one algorithm. So no token makes a public key serve as a
 * secret, and what is not listed ("none" first of all) meets no key at all. Results are not kept: many
 * raw strings are the same token.
 */
import { decodeProtectedHeader, errors, jwtVerify, type CryptoKey, type JWTPayload } from "jose";
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { AuthenticationError } from "./authentication-error.js";
import { JwksKeys, type JwksTiming } from "./jwks-keys.js";
import type { PublicKeyAlgorithm } from "./key-set.js";
import { isName, principalOf, type ClaimNames } from "./principal-claims.js";
import { importSigningSecret, type SigningSecret } from "./signing-secret.js";
import type { TokenVerifier, VerifiedToken } from "./token-verifier.js";

export interface JwtOptions extends ClaimNames {
  /** Checks the tokens made for sockets. */
  readonly socketSecret?: string | undefined;
  /** Checks access tokens. */
  readonly accessSecret?: string | undefined;
  /** Where the public keys of a provider are. */
  readonly jwksUrl?: string | undefined;
  /** Checked where given. */
  readonly issuer?: string | undefined;
  /** Checked where given. */
  readonly audience?: string | undefined;
  /** How far the issuer's clock may be off. */
  readonly clockToleranceSeconds: number;
  /** A token that lives longer is refused: it would outlive its revocation. Absent: it may live for ever. */
  readonly maxLifetimeSeconds?: number | undefined;
}

export const DEFAULT_JWT_OPTIONS: JwtOptions = {
  clockToleranceSeconds: 5,
  userClaim: "sub",
  roleClaim: "role",
  appClaim: "app",
  defaultApp: "default",
  passedClaims: [],
};

export interface JwtVerifierParts {
  /** Milliseconds since 1970-01-01 UTC. */
  readonly nowMs?: () => number;
  readonly jwksTiming?: Partial<JwksTiming>;
  /** For the log. */
  readonly onJwksLoadFailed?: (error: unknown) => void;
}

const MAX_TOKEN_LENGTH = 8192;
/** Three parts of unpadded base64url; the last is empty in an unsigned token. */
const COMPACT_JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;

type Algorithm = "HS256" | PublicKeyAlgorithm;

export class JwtVerifier implements TokenVerifier {
  readonly #options: JwtOptions;
  readonly #secrets: readonly CryptoKey[];
  readonly #jwks: JwksKeys | undefined;
  readonly #nowMs: () => number;

  private constructor(
    options: JwtOptions,
    keys: { secrets: readonly CryptoKey[]; jwks: JwksKeys | undefined },
    nowMs: () => number,
  ) {
    this.#options = options;
    this.#secrets = keys.secrets;
    this.#jwks = keys.jwks;
    this.#nowMs = nowMs;
  }

  /**
   * Imports the keys. Rejects with an error that names what to set where they are missing or unfit; does
   * not wait for the provider, whose keys start to load.
   */
  static async create(options: JwtOptions, parts: JwtVerifierParts = {}): Promise<JwtVerifier> {
    if (!isName(options.defaultApp)) {
      throw new Error("the default app must be 1 to 128 letters, digits or _ . @ | + = -");
    }
    const secrets = await Promise.all(secretsOf(options).map(importSigningSecret));
    if (secrets.length === 0 && options.jwksUrl === undefined) {
      throw new Error("tokens cannot be checked: set JWT_SOCKET_SECRET, JWT_ACCESS_SECRET or JWT_JWKS_URL");
    }
    const jwks =
      options.jwksUrl === undefined
        ? undefined
        : new JwksKeys({
            url: options.jwksUrl,
            ...(parts.jwksTiming && { timing: parts.jwksTiming }),
            ...(parts.onJwksLoadFailed && { onLoadFailed: parts.onJwksLoadFailed }),
          });
    void jwks?.reload();
    return new JwtVerifier(options, { secrets, jwks }, parts.nowMs ?? Date.now);
  }

  async verify(token: string): Promise<VerifiedToken> {
    try {
      const principal = principalOf(await this.#verifiedPayload(token), this.#options);
      this.#checkLifetime(principal);
      return { principal };
    } catch (error) {
      throw toAuthenticationError(error);
    }
  }

  /** Ends what runs in the background. */
  close(): void {
    this.#jwks?.close();
  }

  /** From when it was issued; who does not say, or says a time to come, has as long to live as is left. */
  #checkLifetime({ issuedAt, expiresAt }: Principal): void {
    const { maxLifetimeSeconds, clockToleranceSeconds } = this.#options;
    if (maxLifetimeSeconds === undefined) return;
    const nowSeconds = this.#nowMs() / 1000;
    const fromSeconds = issuedAt === 0 ? nowSeconds : Math.min(issuedAt, nowSeconds);
    const lifetimeSeconds = expiresAt === 0 ? Infinity : expiresAt - fromSeconds;
    if (lifetimeSeconds <= maxLifetimeSeconds + clockToleranceSeconds) return;
    const why = `the token lives longer than the ${maxLifetimeSeconds} seconds that are accepted here`;
    throw new AuthenticationError("lifetime", expiresAt === 0 ? "the token has no end (exp)" : why);
  }

  async #verifiedPayload(token: string): Promise<JWTPayload> {
    const { algorithm, keyId } = readHeader(token);
    if (algorithm === "HS256" && this.#secrets.length > 0) return this.#verifyBySecrets(token);
    if (algorithm !== "HS256" && this.#jwks !== undefined) {
      return this.#verifyByKey(token, algorithm, await this.#jwks.find(algorithm, keyId));
    }
    throw new AuthenticationError("algorithm", "tokens that are signed like this are not accepted here");
  }

  async #verifyBySecrets(token: string): Promise<JWTPayload> {
    for (const secret of this.#secrets) {
      try {
        return await this.#verifyByKey(token, "HS256", secret);
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }

  async #verifyByKey(token: string, algorithm: Algorithm, key: CryptoKey): Promise<JWTPayload> {
    const { issuer, audience, clockToleranceSeconds } = this.#options;
    const { payload } = await jwtVerify(token, key, {
      algorithms: [algorithm],
      clockTolerance: clockToleranceSeconds,
      currentDate: new Date(this.#nowMs()),
      ...(issuer !== undefined && { issuer }),
      ...(audience !== undefined && { audience }),
    });
    return payload;
  }
}

function secretsOf({ socketSecret, accessSecret }: JwtOptions): SigningSecret[] {
  const secrets: SigningSecret[] = [];
  if (socketSecret !== undefined)
    secrets.push({ variable: "JWT_SOCKET_SECRET (or JWT_SECRET)", secret: socketSecret });
  if (accessSecret !== undefined) secrets.push({ variable: "JWT_ACCESS_SECRET", secret: accessSecret });
  return secrets;
}

function readHeader(token: string): { algorithm: Algorithm; keyId: string | undefined } {
  if (token === "") throw new AuthenticationError("missing", "a token is needed");
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new AuthenticationError("malformed", `the token is longer than ${MAX_TOKEN_LENGTH} characters`);
  }
  if (!COMPACT_JWS.test(token)) throw malformed();
  const { alg, kid, crit } = decodeHeader(token);
  if (crit !== undefined) {
    throw new AuthenticationError(
      "unsupported_header",
      'the token\'s header has "crit", which is not supported',
    );
  }
  if (kid !== undefined && typeof kid !== "string") throw malformed();
  switch (alg) {
    case "HS256":
    case "RS256":
    case "ES256":
    case "EdDSA":
      return { algorithm: alg, keyId: kid };
    default:
      throw new AuthenticationError("algorithm", "tokens that are signed like this are not accepted here");
  }
}

/** Nothing of it is trusted: it only chooses the key that the token is then checked with. */
function decodeHeader(token: string): Readonly<Record<"alg" | "kid" | "crit", unknown>> {
  try {
    const { alg, kid, crit } = decodeProtectedHeader(token);
    return { alg, kid, crit };
  } catch {
    throw malformed();
  }
}

function malformed(): AuthenticationError {
  return new AuthenticationError("malformed", "the token is not a JWT");
}

/** jose's errors are not passed on as a cause: those about claims carry all of them. */
function toAuthenticationError(error: unknown): AuthenticationError {
  if (error instanceof AuthenticationError) return error;
  if (error instanceof errors.JWTExpired) return new AuthenticationError("expired", "the token has expired");
  if (error instanceof errors.JWTClaimValidationFailed) return toClaimError(error);
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return new AuthenticationError("bad_signature", "the token's signature is not valid");
  }
  if (error instanceof errors.JOSEError) return malformed();
  return new AuthenticationError("internal", "the token could not be checked", { cause: error });
}

function toClaimError({ claim, reason }: errors.JWTClaimValidationFailed): AuthenticationError {
  if (claim === "nbf" && reason === "check_failed") {
    return new AuthenticationError("not_yet_valid", "the token is not valid yet");
  }
  if (claim === "iss") return new AuthenticationError("wrong_issuer", "the token is from another issuer");
  if (claim === "aud") return new AuthenticationError("wrong_audience", "the token is for another audience");
  return new AuthenticationError("claims", `the token's claim "${claim}" has a value that cannot be used`);
}
