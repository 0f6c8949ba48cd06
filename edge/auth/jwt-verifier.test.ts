import { exportSPKI, SignJWT, UnsecuredJWT, type JWTPayload } from "jose";
import { createHmac } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { JwksProvider, ProviderKey } from "#test/support/jwks-provider.js";
import { AuthenticationError } from "./authentication-error.js";
import { DEFAULT_JWT_OPTIONS, JwtVerifier, type JwtOptions, type JwtVerifierParts } from "./jwt-verifier.js";

const SOCKET_SECRET = "socket-secret-of-tests-0123456789abcdef";
const ACCESS_SECRET = "access-secret-of-tests-0123456789abcdef";
const NOW_SECONDS = 1_800_000_000;

let rsa: ProviderKey;
let ec: ProviderKey;
let edwards: ProviderKey;
let provider: JwksProvider;
const verifiers: JwtVerifier[] = [];

beforeAll(async () => {
  rsa = await ProviderKey.generate("RS256", "rsa");
  ec = await ProviderKey.generate("ES256", "ec");
  edwards = await ProviderKey.generate("EdDSA", "edwards");
  provider = await JwksProvider.start();
});
afterEach(() => {
  for (const verifier of verifiers.splice(0)) verifier.close();
});
afterAll(() => provider.close());

async function verifierOf(
  options: Partial<JwtOptions> = {},
  parts: JwtVerifierParts = {},
): Promise<JwtVerifier> {
  const verifier = await JwtVerifier.create(
    { ...DEFAULT_JWT_OPTIONS, socketSecret: SOCKET_SECRET, accessSecret: ACCESS_SECRET, ...options },
    { nowMs: () => NOW_SECONDS * 1000, ...parts },
  );
  verifiers.push(verifier);
  return verifier;
}

async function providerVerifier(options: Partial<JwtOptions> = {}): Promise<JwtVerifier> {
  provider.answer = "keys";
  provider.keys = [rsa.publicJwk, ec.publicJwk, edwards.publicJwk];
  return verifierOf(
    { jwksUrl: provider.url, ...options },
    { jwksTiming: { cooldownMs: 0, failureCooldownMs: 0 } },
  );
}

async function sign(payload: JWTPayload, secret = SOCKET_SECRET): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg: "HS256" }).sign(Buffer.from(secret));
}

/** A token with a header and a payload of the test's own, signed rightly. */
function signRaw(header: unknown, payload: unknown, secret: string = SOCKET_SECRET): string {
  const encode = (value: unknown) =>
    Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
  const signed = `${encode(header)}.${encode(payload)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** Why the token was refused; its error must not hold any part of it. */
async function refusalOf(verifier: JwtVerifier, token: string): Promise<AuthenticationError> {
  try {
    await verifier.verify(token);
  } catch (error) {
    if (!(error instanceof AuthenticationError)) throw error;
    const parts = token.split(".").filter((part) => part.length > 10);
    const said = `${error.message} ${JSON.stringify(error)} ${String(error.cause)}`;
    expect(parts.filter((part) => said.includes(part))).toEqual([]);
    return error;
  }
  throw new Error("the token was accepted");
}

describe("JwtVerifier with secrets", () => {
  it("tells who the token stands for", async () => {
    const verifier = await verifierOf({ passedClaims: ["fleet", "absent"] });
    const token = await sign({
      sub: "u1",
      role: "porter",
      app: "delivery",
      jti: "t1",
      iat: NOW_SECONDS - 10,
      exp: NOW_SECONDS + 60,
      fleet: { id: 7 },
      phone: "not passed on",
    });
    expect((await verifier.verify(token)).principal).toEqual({
      app: "delivery",
      userId: "u1",
      role: "porter",
      tokenId: "t1",
      issuedAt: NOW_SECONDS - 10,
      expiresAt: NOW_SECONDS + 60,
      claimsJson: '{"fleet":{"id":7}}',
    });
  });

  it("accepts tokens of either secret, and of no third one", async () => {
    const verifier = await verifierOf();
    expect((await verifier.verify(await sign({ sub: "u1" }, ACCESS_SECRET))).principal.userId).toBe("u1");
    expect((await verifier.verify(await sign({ sub: "u2" }, SOCKET_SECRET))).principal.userId).toBe("u2");
    const foreign = await sign({ sub: "u3" }, "another-secret-of-tests-0123456789abcdef");
    expect(await refusalOf(verifier, foreign)).toMatchObject({
      reason: "bad_signature",
      kind: "unauthenticated",
    });
  });

  it("says that a token of the second secret is expired, not that its signature is bad", async () => {
    const token = await sign({ sub: "u1", exp: NOW_SECONDS - 60 }, ACCESS_SECRET);
    expect(await refusalOf(await verifierOf(), token)).toMatchObject({ reason: "expired", kind: "expired" });
  });

  it("does not tell the bearer of a forged token that it is expired", async () => {
    const token = await sign(
      { sub: "u1", exp: NOW_SECONDS - 60 },
      "another-secret-of-tests-0123456789abcdef",
    );
    expect((await refusalOf(await verifierOf(), token)).reason).toBe("bad_signature");
  });

  it("bears clocks that differ by the tolerance, and no more", async () => {
    const verifier = await verifierOf({ clockToleranceSeconds: 5 });
    await verifier.verify(await sign({ sub: "u1", exp: NOW_SECONDS - 4 }));
    await verifier.verify(await sign({ sub: "u1", nbf: NOW_SECONDS + 5 }));
    expect((await refusalOf(verifier, await sign({ sub: "u1", exp: NOW_SECONDS - 5 }))).reason).toBe(
      "expired",
    );
    expect((await refusalOf(verifier, await sign({ sub: "u1", nbf: NOW_SECONDS + 6 }))).reason).toBe(
      "not_yet_valid",
    );
  });

  it("holds issuer and audience where they are configured", async () => {
    const verifier = await verifierOf({ issuer: "https://id.example.com", audience: "realtime" });
    const issued = { sub: "u1", iss: "https://id.example.com" };
    const addressed = { sub: "u1", aud: ["api", "realtime"] };
    const good = { ...issued, ...addressed };
    expect((await verifier.verify(await sign(good))).principal.userId).toBe("u1");
    const refusals = [
      await refusalOf(verifier, await sign({ ...good, iss: "https://id.example.org" })),
      await refusalOf(verifier, await sign(addressed)),
      await refusalOf(verifier, await sign({ ...good, aud: "api" })),
      await refusalOf(verifier, await sign(issued)),
    ];
    expect(refusals.map(({ reason }) => reason)).toEqual([
      "wrong_issuer",
      "wrong_issuer",
      "wrong_audience",
      "wrong_audience",
    ]);
  });

  it("refuses a token whose payload was changed", async () => {
    const [header, , signature] = (await sign({ sub: "u1", role: "customer" })).split(".");
    const payload = Buffer.from(JSON.stringify({ sub: "u1", role: "admin" })).toString("base64url");
    const refusal = await refusalOf(await verifierOf(), `${header ?? ""}.${payload}.${signature ?? ""}`);
    expect(refusal.reason).toBe("bad_signature");
  });

  it.each([
    ["unsigned", new UnsecuredJWT({ sub: "u1" }).encode()],
    ["unsigned, in other letters", signRaw({ alg: "nOnE" }, { sub: "u1" })],
    ["without an algorithm", signRaw({ typ: "JWT" }, { sub: "u1" })],
    ["of another HMAC", signRaw({ alg: "HS512" }, { sub: "u1" })],
    ["with a list of algorithms", signRaw({ alg: ["HS256"] }, { sub: "u1" })],
    ["of a public key, where none is configured", signRaw({ alg: "RS256" }, { sub: "u1" })],
  ])("refuses a token %s", async (_, token) => {
    expect(await refusalOf(await verifierOf(), token)).toMatchObject({
      reason: "algorithm",
      kind: "unauthenticated",
    });
  });

  it("refuses header extensions that must be understood", async () => {
    const verifier = await verifierOf();
    const headers = [
      { alg: "HS256", crit: ["exp"], exp: 1 },
      { alg: "HS256", crit: ["b64"], b64: false },
      { alg: "HS256", crit: [] },
    ];
    for (const header of headers) {
      const refusal = await refusalOf(verifier, signRaw(header, { sub: "u1" }));
      expect(refusal.reason).toBe("unsupported_header");
    }
  });

  it.each([
    ["words", "not a token"],
    ["two parts", "YQ.Yg"],
    ["an encrypted token", "YQ.Yg.Yw.ZA.ZQ"],
    ["a header that is no JSON", signRaw("{", { sub: "u1" })],
    ["a header that is a list", signRaw([], { sub: "u1" })],
    ["a header nested deeply", signRaw("[".repeat(5000), { sub: "u1" })],
    ["a key id that is no text", signRaw({ alg: "HS256", kid: { a: 1 } }, { sub: "u1" })],
    ["a payload that is no JSON", signRaw({ alg: "HS256" }, "{")],
    ["a payload that is a list", signRaw({ alg: "HS256" }, [])],
    ["NUL characters", "\0.\0.\0"],
  ])("refuses %s as malformed", async (_, token) => {
    expect((await refusalOf(await verifierOf(), token)).reason).toBe("malformed");
  });

  it("refuses other spellings of a good token", async () => {
    const verifier = await verifierOf();
    const token = await sign({ sub: "u1" });
    for (const spelling of [`${token}=`, ` ${token}`, `${token}\n`, token.replace(".", " .")]) {
      expect((await refusalOf(verifier, spelling)).reason).toBe("malformed");
    }
  });

  it("says of an empty token that it is missing", async () => {
    expect((await refusalOf(await verifierOf(), "")).reason).toBe("missing");
  });

  it("refuses a token above 8 KiB, even one that is signed rightly", async () => {
    const verifier = await verifierOf();
    await verifier.verify(await sign({ sub: "u1", padding: "x".repeat(5500) }));
    expect((await refusalOf(verifier, await sign({ sub: "u1", padding: "x".repeat(8000) }))).reason).toBe(
      "malformed",
    );
    expect((await refusalOf(verifier, "a".repeat(50_000_000))).reason).toBe("malformed");
  });
});

describe("JwtVerifier with a provider's keys", () => {
  it("accepts RS256, ES256 and EdDSA, and secrets beside them", async () => {
    const verifier = await providerVerifier();
    for (const key of [rsa, ec, edwards]) {
      const { principal } = await verifier.verify(await key.sign({ sub: key.keyId }));
      expect(principal.userId).toBe(key.keyId);
    }
    expect((await verifier.verify(await sign({ sub: "u1" }))).principal.userId).toBe("u1");
  });

  it("never checks an HMAC with a public key, whatever spelling of the key was used as the secret", async () => {
    const verifiersWithAndWithoutSecrets = [
      await providerVerifier(),
      await providerVerifier({ socketSecret: undefined, accessSecret: undefined }),
    ];
    const pem = await exportSPKI(rsa.publicKey);
    const secrets = [pem, `${pem}\n`, JSON.stringify(rsa.publicJwk), rsa.publicJwk.n ?? ""];
    for (const verifier of verifiersWithAndWithoutSecrets) {
      await verifier.verify(await rsa.sign({ sub: "u1" }));
      for (const secret of secrets) {
        const confused = signRaw({ alg: "HS256", kid: rsa.keyId }, { sub: "admin", role: "admin" }, secret);
        expect(["bad_signature", "algorithm"]).toContain((await refusalOf(verifier, confused)).reason);
        const mislabelled = signRaw(
          { alg: "RS256", kid: rsa.keyId },
          { sub: "admin", role: "admin" },
          secret,
        );
        expect((await refusalOf(verifier, mislabelled)).reason).toBe("bad_signature");
      }
    }
  });

  it("never checks a token with a key of another algorithm", async () => {
    const verifier = await providerVerifier();
    expect((await refusalOf(verifier, await rsa.sign({ sub: "u1" }, { kid: "ec" }))).reason).toBe(
      "unknown_key",
    );
  });

  it("ignores keys and addresses of keys that the token itself brings", async () => {
    const verifier = await providerVerifier();
    const attacker = await ProviderKey.generate("ES256", "attacker");
    const token = await new SignJWT({ sub: "admin" })
      .setProtectedHeader({
        alg: "ES256",
        kid: "ec",
        jwk: attacker.publicJwk,
        jku: "http://127.0.0.1:1/jwks",
      })
      .sign(attacker.privateKey);
    expect((await refusalOf(verifier, token)).reason).toBe("bad_signature");
  });

  it("refuses a key id that the provider does not know", async () => {
    const refusal = await refusalOf(
      await providerVerifier(),
      await ec.sign({ sub: "u1" }, { kid: "nobody" }),
    );
    expect(refusal).toMatchObject({ reason: "unknown_key", kind: "unauthenticated" });
  });

  it("accepts a new key of the provider as soon as a token names it, and drops the old one", async () => {
    const verifier = await providerVerifier();
    await verifier.verify(await ec.sign({ sub: "u1" }));
    const next = await ProviderKey.generate("ES256", "next");
    provider.keys = [next.publicJwk];
    await verifier.verify(await next.sign({ sub: "u1" }));
    expect((await refusalOf(verifier, await ec.sign({ sub: "u1" }))).reason).toBe("unknown_key");
  });

  it("goes on with the keys it has when the provider fails after the first load", async () => {
    const verifier = await verifierOf(
      { jwksUrl: provider.url },
      { jwksTiming: { maxAgeMs: 0, cooldownMs: 0, failureCooldownMs: 0 } },
    );
    provider.answer = "keys";
    provider.keys = [ec.publicJwk];
    await verifier.verify(await ec.sign({ sub: "u1" }));
    provider.answer = "status_500";
    const requests = provider.requests;
    for (let count = 0; count < 20; count++) await verifier.verify(await ec.sign({ sub: "u1" }));
    await expect.poll(() => provider.requests).toBeGreaterThan(requests);
    await verifier.verify(await ec.sign({ sub: "u1" }));
    const unknown = await refusalOf(verifier, await ec.sign({ sub: "u1" }, { kid: "nobody" }));
    expect(unknown).toMatchObject({ reason: "keys_unavailable", kind: "unavailable" });
  });

  it("checks tokens of secrets also while the provider has never answered", async () => {
    const verifier = await providerVerifier();
    provider.answer = "status_500";
    expect((await verifier.verify(await sign({ sub: "u1" }))).principal.userId).toBe("u1");
  });
});

describe("how long a token lives", () => {
  const MAX = 3600;

  it.each([
    ["as long as may be", { iat: NOW_SECONDS - 60, exp: NOW_SECONDS - 60 + MAX }],
    ["as long as may be, by a clock that is ahead", { iat: NOW_SECONDS + 4, exp: NOW_SECONDS + 4 + MAX }],
    ["without a beginning, with so much left", { exp: NOW_SECONDS + MAX }],
  ])("is accepted %s", async (_which, times) => {
    const verifier = await verifierOf({ maxLifetimeSeconds: MAX });
    expect((await verifier.verify(await sign({ sub: "u1", ...times }))).principal.userId).toBe("u1");
  });

  it.each([
    ["longer", { iat: NOW_SECONDS - 60, exp: NOW_SECONDS + MAX }],
    ["longer, and is over soon", { iat: NOW_SECONDS - 10 * MAX, exp: NOW_SECONDS + 10 }],
    ["longer, from a time to come", { iat: NOW_SECONDS + 9 * MAX, exp: NOW_SECONDS + 10 * MAX }],
    ["longer, without a beginning", { exp: NOW_SECONDS + MAX + 60 }],
    ["for ever", { iat: NOW_SECONDS }],
  ])("is refused %s than its revocation would be kept", async (_which, times) => {
    const verifier = await verifierOf({ maxLifetimeSeconds: MAX });
    const refusal = await refusalOf(verifier, await sign({ sub: "u1", ...times }));
    expect(refusal).toMatchObject({ reason: "lifetime", kind: "unauthenticated" });
  });
});

describe("JwtVerifier.create", () => {
  it("refuses a secret below 32 bytes and names what to set", async () => {
    await expect(verifierOf({ socketSecret: "x".repeat(31) })).rejects.toThrow(/JWT_SOCKET_SECRET.*31.*32/);
    await expect(verifierOf({ accessSecret: "" })).rejects.toThrow(/JWT_ACCESS_SECRET/);
    await verifierOf({ socketSecret: "x".repeat(32) });
  });

  it("refuses a public key in the place of a secret", async () => {
    const pem = await exportSPKI(rsa.publicKey);
    await expect(verifierOf({ socketSecret: pem })).rejects.toThrow(/JWT_SOCKET_SECRET.*JWT_JWKS_URL/);
  });

  it("refuses to start with nothing to check tokens with", async () => {
    await expect(verifierOf({ socketSecret: undefined, accessSecret: undefined })).rejects.toThrow(
      /JWT_SOCKET_SECRET, JWT_ACCESS_SECRET or JWT_JWKS_URL/,
    );
  });

  it("does not wait for the provider", async () => {
    provider.answer = "hang";
    const verifier = await verifierOf({ jwksUrl: provider.url });
    expect((await verifier.verify(await sign({ sub: "u1" }))).principal.userId).toBe("u1");
    verifier.close();
    provider.release();
  });
});
