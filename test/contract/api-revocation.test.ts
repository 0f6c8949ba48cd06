/** `RevocationService` as other services see it. */
import { status } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failed, type Json } from "./api-client.js";
import { ApiHarness, NOW_MS } from "./api-harness.js";

let api: ApiHarness;

beforeEach(async () => {
  api = await ApiHarness.start();
});
afterEach(() => api.stop());

const EXPIRES_AT_MS = NOW_MS + 3_600_000 + 600_000;

async function call(name: string, request: Json): Promise<Record<string, unknown>> {
  return (await api.client().call("RevocationService", name, request)).response;
}
const revoke = (...revocations: Json[]) => call("Revoke", { revocations });
const list = async (request: Json = {}) =>
  (await call("ListRevocations", request))["revocations"] as readonly { revocation: Json }[];

describe("RevocationService", () => {
  it("revokes by token, by user and by issue time, and lists what it has revoked", async () => {
    const { results } = await revoke(
      { token_id: "t 1" },
      { user_id: "u1" },
      { app: "bikes", user_id: "u1", issued_before_ms: NOW_MS - 5 },
    );
    const kept = { error: null, expires_at_ms: EXPIRES_AT_MS };
    expect(results).toEqual([kept, kept, kept]);
    const { revocations } = api;
    const token = { app: "default", userId: "u9", tokenId: "t 1", issuedAt: NOW_MS / 1000 };
    expect(revocations.revokes(token)).toBe(true);
    expect(revocations.revokes({ ...token, userId: "u1", tokenId: "" })).toBe(true);
    expect(revocations.revokes({ ...token, app: "bikes", userId: "u1" })).toBe(false);
    expect(revocations.revokes({ ...token, app: "bikes", userId: "u1", issuedAt: 1 })).toBe(true);

    const about = (await list()).map(({ revocation }) => revocation);
    expect(about).toMatchObject([
      { app: "default", token_id: "t 1" },
      { app: "default", user_id: "u1", issued_before_ms: NOW_MS + 1000 },
    ]);
    expect(await list({ app: "bikes" })).toMatchObject([
      { revocation: { user_id: "u1", issued_before_ms: NOW_MS - 5 }, expires_at_ms: EXPIRES_AT_MS },
    ]);
    expect(await list({ user_id: "t1" })).toEqual([]);
    expect(await list({ token_id: "t 1" })).toHaveLength(1);
  });

  it("lets items fail on their own, each with its field", async () => {
    const { results } = await revoke(
      {},
      { token_id: "" },
      { token_id: "x".repeat(257) },
      { token_id: "t1", issued_before_ms: 5 },
      { user_id: "a b" },
      { user_id: "u1", issued_before_ms: NOW_MS + 300_001 },
      { user_id: "u1", issued_before_ms: -1 },
      { user_id: "u1", app: "a:b" },
      { user_id: "u1" },
    );
    const fields = (results as readonly { error: { field: string } | null }[]).map(
      ({ error }) => error?.field,
    );
    expect(fields).toEqual([
      "revocations[0]",
      "revocations[1].token_id",
      "revocations[2].token_id",
      "revocations[3].issued_before_ms",
      "revocations[4].user_id",
      "revocations[5].issued_before_ms",
      "revocations[6].issued_before_ms",
      "revocations[7].app",
      undefined,
    ]);
    expect(await list()).toHaveLength(1);
  });

  it("says of each item that is one too many when to send it again", async () => {
    const ids = ["t1", "t2", "t3", "t4", "t5", "t6"];
    const { results } = await revoke(...ids.map((token_id) => ({ token_id })));
    expect((results as readonly Json[]).at(-1)).toMatchObject({
      error: { code: "ERROR_CODE_RATE_LIMITED", retry_after_ms: 60_000 },
    });
    expect(await list()).toHaveLength(5);
  });

  it("is UNAVAILABLE while the store is away, and revokes nothing", async () => {
    api.revocationsAreAway = true;
    expect(await failed(revoke({ token_id: "t1" }))).toMatchObject({
      code: status.UNAVAILABLE,
      error: { retry_after_ms: 500 },
    });
    expect(await list()).toEqual([]);
  });

  it.each<[string, Json]>([
    ["Revoke", { revocations: [] }],
    ["ListRevocations", { app: "a:b" }],
    ["ListRevocations", { user_id: "a b" }],
  ])("%s refuses %j as a whole", async (name, request) => {
    expect(await failed(call(name, request))).toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  it("is not open to whoever has no token", async () => {
    const call = api.client().call("RevocationService", "Revoke", { revocations: [] }, { token: "wrong" });
    expect(await failed(call)).toMatchObject({ code: status.UNAUTHENTICATED });
  });
});
