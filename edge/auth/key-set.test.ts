import { exportJWK, generateKeyPair, type JWK } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { ProviderKey } from "#test/support/jwks-provider.js";
import { readKeySet } from "./key-set.js";

let rsa: ProviderKey;
let ec: ProviderKey;
let edwards: ProviderKey;

beforeAll(async () => {
  rsa = await ProviderKey.generate("RS256", "rsa");
  ec = await ProviderKey.generate("ES256", "ec");
  edwards = await ProviderKey.generate("EdDSA", "edwards");
});

async function keyIdsOf(...entries: readonly unknown[]): Promise<readonly (string | undefined)[]> {
  const keys = await readKeySet({ keys: [...entries, ec.publicJwk] });
  return keys.map(({ keyId }) => keyId).filter((keyId) => keyId !== "ec");
}

describe("readKeySet", () => {
  it("pins each key to the one algorithm of its type, also where the provider names none", async () => {
    const entries = [rsa, ec, edwards].map(({ publicJwk }) => ({ ...publicJwk, alg: undefined }));
    const keys = await readKeySet({ keys: entries });
    expect(keys.map(({ keyId, algorithm }) => [keyId, algorithm])).toEqual([
      ["rsa", "RS256"],
      ["ec", "ES256"],
      ["edwards", "EdDSA"],
    ]);
    expect(keys.every(({ key }) => key.type === "public" && key.usages.join() === "verify")).toBe(true);
  });

  it("takes the public part alone of a key whose private part was published", async () => {
    const published = { ...(await exportJWK(rsa.privateKey)), kid: "leaked" };
    expect(published).toHaveProperty("d");
    const [key] = await readKeySet({ keys: [published] });
    expect(key?.key.type).toBe("public");
  });

  it("leaves out shared secrets, keys for encryption, other algorithms and curves, and what is broken", async () => {
    const p384 = await exportJWK((await generateKeyPair("ES384", { extractable: true })).publicKey);
    const unusable: unknown[] = [
      { kty: "oct", k: Buffer.alloc(32, 1).toString("base64url"), kid: "secret", alg: "HS256" },
      { ...rsa.publicJwk, kid: "encryption", use: "enc" },
      { ...rsa.publicJwk, kid: "wrapping", key_ops: ["encrypt"] },
      { ...rsa.publicJwk, kid: "pss", alg: "PS256" },
      { ...rsa.publicJwk, kid: "confused", alg: "HS256" },
      { ...p384, kid: "p384" } satisfies JWK,
      { kty: "EC", crv: "P-256", x: "AAAA", y: "AAAA", kid: "off-curve" },
      { kty: "RSA", kid: "empty" },
      "text",
      null,
    ];
    expect(await keyIdsOf(...unusable)).toEqual([]);
  });

  it("leaves out RSA keys below 2048 bits", async () => {
    const weak = { kty: "RSA", n: `${"-_".repeat(85)}w`, e: "AQAB", kid: "weak" };
    expect(Buffer.from(weak.n, "base64url").byteLength).toBe(128);
    expect(await keyIdsOf(weak)).toEqual([]);
  });

  it.each([null, [], {}, { keys: "none" }, { keys: [] }, { keys: [{ kty: "oct", k: "AAAA" }] }])(
    "throws for %j, which has no key to use",
    async (document) => {
      await expect(readKeySet(document)).rejects.toThrow();
    },
  );

  it("throws for more keys than a provider has", async () => {
    const keys = Array.from({ length: 65 }, () => ec.publicJwk);
    await expect(readKeySet({ keys })).rejects.toThrow(/more than 64/);
  });
});
