import { describe, expect, it } from "vitest";
import { AuthenticationError } from "./authentication-error.js";
import { DEFAULT_JWT_OPTIONS } from "./jwt-verifier.js";
import { principalOf, type ClaimNames } from "./principal-claims.js";

const NAMES: ClaimNames = DEFAULT_JWT_OPTIONS;

function refusalOf(payload: Record<string, unknown>, names: ClaimNames = NAMES): AuthenticationError {
  try {
    principalOf(payload, names);
  } catch (error) {
    if (error instanceof AuthenticationError) return error;
    throw error;
  }
  throw new Error("the claims were accepted");
}

describe("principalOf", () => {
  it("gives a token that names no role and no app the role user and the default app", () => {
    expect(principalOf({ sub: "u1" }, NAMES)).toEqual({
      app: "default",
      userId: "u1",
      role: "user",
      tokenId: "",
      issuedAt: 0,
      expiresAt: 0,
      claimsJson: "",
    });
    expect(principalOf({ sub: "u1", role: null, app: null }, NAMES)).toMatchObject({
      role: "user",
      app: "default",
    });
  });

  it("reads the claims that are configured, and not the usual ones", () => {
    const names = {
      ...NAMES,
      userClaim: "userId",
      roleClaim: "https://example.com/role",
      appClaim: "tenant",
    };
    const payload = {
      sub: "x",
      role: "admin",
      app: "y",
      userId: "u1",
      "https://example.com/role": "rider",
      tenant: "t",
    };
    expect(principalOf(payload, names)).toMatchObject({ userId: "u1", role: "rider", app: "t" });
    expect(refusalOf({ sub: "u1" }, names).message).toContain('"userId"');
  });

  it("takes a number for a user's id where the issuer numbers its users", () => {
    expect(principalOf({ id: 42 }, { ...NAMES, userClaim: "id" }).userId).toBe("42");
    expect(refusalOf({ sub: 4.2 }).reason).toBe("claims");
    expect(refusalOf({ sub: 2 ** 60 }).reason).toBe("claims");
  });

  it.each(["", " ", "a b", "a:b", "{a}", "a*", "a/b", "a\nb", "a\0", "ü", "x".repeat(129), true, {}, ["u1"]])(
    "refuses %j for a user, a role and an app",
    (value) => {
      for (const payload of [{ sub: value }, { sub: "u1", role: value }, { sub: "u1", app: value }]) {
        expect(refusalOf(payload)).toMatchObject({ reason: "claims", kind: "unauthenticated" });
      }
    },
  );

  it("accepts every character that identity providers put into names", () => {
    const userId = "auth0|a_B-9.c@example.com+=";
    expect(principalOf({ sub: userId }, NAMES).userId).toBe(userId);
    expect(principalOf({ sub: "x".repeat(128) }, NAMES).userId).toHaveLength(128);
  });

  it("does not echo what it refuses", () => {
    expect(refusalOf({ sub: "secret value" }).message).not.toContain("secret value");
  });

  it("does not take what every object inherits for a claim", () => {
    expect(principalOf({ sub: "u1" }, { ...NAMES, roleClaim: "constructor" }).role).toBe("user");
    expect(principalOf({ sub: "u1" }, { ...NAMES, passedClaims: ["toString", "__proto__"] }).claimsJson).toBe(
      "",
    );
  });

  it("gives whole seconds, and refuses times that are none", () => {
    expect(principalOf({ sub: "u1", iat: 10.9, exp: 99.9 }, NAMES)).toMatchObject({
      issuedAt: 10,
      expiresAt: 99,
    });
    for (const time of [1e300, -1, Number.NaN, Number.POSITIVE_INFINITY, "10", null]) {
      expect(refusalOf({ sub: "u1", exp: time }).reason).toBe("claims");
      expect(refusalOf({ sub: "u1", iat: time }).reason).toBe("claims");
    }
  });

  it("refuses a token id that is no text or too long", () => {
    for (const jti of [7, {}, "x".repeat(257)]) expect(refusalOf({ sub: "u1", jti }).reason).toBe("claims");
  });

  it("passes on the listed claims only", () => {
    const names = { ...NAMES, passedClaims: ["fleet", "city"] };
    const payload = { sub: "u1", fleet: [1], city: "c", phone: "p" };
    expect(JSON.parse(principalOf(payload, names).claimsJson)).toEqual({ fleet: [1], city: "c" });
  });
});
