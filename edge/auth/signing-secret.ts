/**
 * The secrets of HS256 tokens. One becomes a key that can check HMAC-SHA-256 and nothing else, so that no
 * other algorithm can ever be tried with it. A secret that can be guessed, or that is public, stops the
 * start with the name of what to set.
 */
import { webcrypto } from "node:crypto";

/** RFC 7518, 3.2: at least the size of the hash. */
const MIN_SECRET_BYTES = 32;

export interface SigningSecret {
  /** The variable that it was configured by, for errors. */
  readonly variable: string;
  readonly secret: string;
}

export async function importSigningSecret({ variable, secret }: SigningSecret): Promise<webcrypto.CryptoKey> {
  const bytes = Buffer.from(secret, "utf8");
  if (bytes.byteLength < MIN_SECRET_BYTES) {
    throw new Error(
      `${variable} has ${bytes.byteLength} bytes and needs at least ${MIN_SECRET_BYTES}: ` +
        "set it to a random one, as from `openssl rand -base64 48`",
    );
  }
  if (secret.trimStart().startsWith("-----BEGIN")) {
    throw new Error(
      `${variable} holds a PEM key where a shared secret belongs: public keys are configured by JWT_JWKS_URL`,
    );
  }
  return webcrypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}
