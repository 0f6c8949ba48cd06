/**
 * The public keys of one JWKS document. Each key is imported for the one algorithm that its type allows
 * here (RSA: RS256, P-256: ES256, Ed25519: EdDSA) and can do nothing but check signatures; private parts,
 * shared secrets, other algorithms and keys too weak are left out.
 */
import { importJWK, type CryptoKey, type JWK } from "jose";

export type PublicKeyAlgorithm = "RS256" | "ES256" | "EdDSA";

export interface VerificationKey {
  readonly algorithm: PublicKeyAlgorithm;
  /** Absent where the provider gave it none. */
  readonly keyId: string | undefined;
  readonly key: CryptoKey;
}

/** Providers have two or three; more than this is not a key set. */
const MAX_KEYS = 64;
const MIN_RSA_MODULUS_BITS = 2048;

/** The keys of a document that can be used here. Throws where the document is no JWKS or has none. */
export async function readKeySet(document: unknown): Promise<readonly VerificationKey[]> {
  if (!isRecord(document) || !Array.isArray(document["keys"])) throw new Error("it is no JWKS document");
  const entries: readonly unknown[] = document["keys"];
  if (entries.length > MAX_KEYS) throw new Error(`it has more than ${MAX_KEYS} keys`);
  const keys: VerificationKey[] = [];
  for (const entry of entries) {
    const key = isRecord(entry) ? await importVerificationKey(entry) : undefined;
    if (key !== undefined) keys.push(key);
  }
  if (keys.length === 0) throw new Error("it has no key for RS256, ES256 or EdDSA");
  return keys;
}

async function importVerificationKey(
  entry: Readonly<Record<string, unknown>>,
): Promise<VerificationKey | undefined> {
  const { use, key_ops: operations, alg } = entry;
  if (use !== undefined && use !== "sig") return undefined;
  if (Array.isArray(operations) && !operations.includes("verify")) return undefined;
  const publicKey = publicPartOf(entry);
  if (publicKey === undefined) return undefined;
  if (
    alg !== undefined &&
    alg !== publicKey.algorithm &&
    !(alg === "Ed25519" && publicKey.jwk.kty === "OKP")
  ) {
    return undefined;
  }
  try {
    const key = await importJWK(publicKey.jwk, publicKey.algorithm);
    if (key instanceof Uint8Array || key.type !== "public" || isWeak(key)) return undefined;
    const keyId = typeof entry["kid"] === "string" ? entry["kid"] : undefined;
    return { algorithm: publicKey.algorithm, keyId, key };
  } catch {
    // One entry that cannot be read must not take the others away.
    return undefined;
  }
}

function publicPartOf(
  entry: Readonly<Record<string, unknown>>,
): { algorithm: PublicKeyAlgorithm; jwk: JWK } | undefined {
  const { kty, crv, n, e, x, y } = entry;
  if (kty === "RSA" && typeof n === "string" && typeof e === "string") {
    return { algorithm: "RS256", jwk: { kty, n, e } };
  }
  if (kty === "EC" && crv === "P-256" && typeof x === "string" && typeof y === "string") {
    return { algorithm: "ES256", jwk: { kty, crv, x, y } };
  }
  if (kty === "OKP" && crv === "Ed25519" && typeof x === "string") {
    return { algorithm: "EdDSA", jwk: { kty, crv, x } };
  }
  return undefined;
}

function isWeak(key: CryptoKey): boolean {
  const { algorithm } = key;
  return (
    "modulusLength" in algorithm &&
    typeof algorithm.modulusLength === "number" &&
    algorithm.modulusLength < MIN_RSA_MODULUS_BITS
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
