/** The token command: what it prints is what the edge believes, and what it refuses it explains. */
import { describe, expect, test } from "vitest";
import { decodeJwt } from "jose";
import { DEFAULT_JWT_OPTIONS, JwtVerifier } from "#edge/auth/jwt-verifier.js";
import { runTokenCommand } from "./token-command.js";

const SECRET = "a-secret-for-tests-of-32-bytes-or-more";
const OTHER_SECRET = "another-secret-for-tests-of-32-bytes-or-more";
const NOW_MS = 1_700_000_000_000;

async function tokenOf(args: readonly string[], environment: Record<string, string> = {}): Promise<string> {
  const result = await runTokenCommand(args, { JWT_SOCKET_SECRET: SECRET, ...environment }, NOW_MS);
  expect(result).toMatchObject({ exitCode: 0, errors: "" });
  return result.output.trim();
}

async function principalOf(token: string, options: object = {}) {
  const verifier = await JwtVerifier.create(
    { ...DEFAULT_JWT_OPTIONS, socketSecret: SECRET, ...options },
    { nowMs: () => NOW_MS },
  );
  return (await verifier.verify(token)).principal;
}

describe("a token", () => {
  test("is what the edge believes, for an hour", async () => {
    const principal = await principalOf(await tokenOf(["--sub", "u1", "--role", "customer"]));
    expect(principal).toMatchObject({
      userId: "u1",
      role: "customer",
      app: "default",
      issuedAt: NOW_MS / 1000,
      expiresAt: NOW_MS / 1000 + 3600,
    });
  });

  test("has the app, the life and the claims that were asked for", async () => {
    const args = [
      "--sub",
      "u1",
      "--app",
      "shop",
      "--ttl",
      "60",
      "--claims",
      '{"restaurant":"r1","sub":"other"}',
    ];
    expect(decodeJwt(await tokenOf(args))).toEqual({
      sub: "u1",
      app: "shop",
      restaurant: "r1",
      iat: NOW_MS / 1000,
      exp: NOW_MS / 1000 + 60,
    });
  });

  test("has the names of claims, the issuer and the audience of the gateway's configuration", async () => {
    const token = await tokenOf(["--sub", "u1", "--role", "admin"], {
      JWT_USER_CLAIM: "uid",
      JWT_ROLE_CLAIM: "https://example.com/role",
      JWT_ISSUER: "https://id.example.com",
      JWT_AUDIENCE: "gateway",
    });
    const options = {
      userClaim: "uid",
      roleClaim: "https://example.com/role",
      issuer: "https://id.example.com",
      audience: "gateway",
    };
    expect(await principalOf(token, options)).toMatchObject({ userId: "u1", role: "admin" });
  });

  test("is signed with JWT_SECRET only where JWT_SOCKET_SECRET is unset", async () => {
    await principalOf(await tokenOf(["--sub", "u1"], { JWT_SECRET: OTHER_SECRET }));
    const token = await tokenOf(["--sub", "u1"], { JWT_SOCKET_SECRET: "", JWT_SECRET: OTHER_SECRET });
    await principalOf(token, { socketSecret: OTHER_SECRET });
    await expect(principalOf(token)).rejects.toThrow("signature");
  });
});

describe("what cannot be done is said, with exit code 2 and no token", () => {
  test.each([
    [["--sub", "u1"], {}, "JWT_SOCKET_SECRET (or JWT_SECRET) must be set"],
    [["--sub", "u1"], { JWT_SECRET: "short" }, "JWT_SECRET must be at least 32 bytes"],
    [["--role", "customer"], { JWT_SECRET: SECRET }, "--sub must be"],
    [["--sub", "u1", "--ttl", "1h"], { JWT_SECRET: SECRET }, "--ttl must be"],
    [["--sub", "u1", "--ttl", "0"], { JWT_SECRET: SECRET }, "--ttl must be"],
    [["--sub", "u1", "--ttl", "86401"], { JWT_SECRET: SECRET }, "raise MAX_TOKEN_LIFETIME"],
    [["--sub", "u1", "--claims", "[]"], { JWT_SECRET: SECRET }, "--claims must be a JSON object"],
    [["--sub", "u1", "--rolle", "x"], { JWT_SECRET: SECRET }, "--rolle"],
  ])("%j with %j", async (args, environment, message) => {
    const result = await runTokenCommand(args, environment);
    expect(result).toMatchObject({ exitCode: 2, output: "" });
    expect(result.errors).toContain(message);
  });
});

test("--help tells the arguments, and needs no secret", async () => {
  const result = await runTokenCommand(["--help"], {});
  expect(result.exitCode).toBe(0);
  expect(result.output).toContain("--sub");
});
