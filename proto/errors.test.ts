import { status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { CloseCode } from "./close-codes.js";
import { ERROR_KINDS, GatewayError, toGatewayError } from "./errors.js";
import { ErrorCode } from "./gen/realtime/client/v1/errors.js";

describe("the table of errors", () => {
  it("has every code of the contract once, under its name", () => {
    const kinds = Object.entries(ERROR_KINDS);
    const inContract = Object.entries(ErrorCode)
      .filter(([, code]) => code !== ErrorCode.ERROR_CODE_UNSPECIFIED && code > 0)
      .map(([name, code]) => [name.replace("ERROR_CODE_", "").toLowerCase(), code]);
    expect(kinds.map(([name, { code }]) => [name, code]).sort()).toEqual(inContract.sort());
  });

  it("maps each to a gRPC status that is a failure, and to a close code that there is", () => {
    for (const { grpcStatus, closeCode } of Object.values(ERROR_KINDS)) {
      expect(grpcStatus).not.toBe(status.OK);
      expect(grpcStatus).not.toBe(status.UNKNOWN);
      expect(Object.values(CloseCode)).toContain(closeCode);
    }
  });

  it("lets a client come back to what may pass, and not to what will fail again", () => {
    const range = (name: keyof typeof ERROR_KINDS): number => Math.floor(ERROR_KINDS[name].closeCode / 100);
    expect((["unavailable", "rate_limited", "internal"] as const).map(range)).toEqual([40, 40, 40]);
    expect((["unauthenticated", "expired"] as const).map(range)).toEqual([41, 41]);
    expect((["permission_denied", "invalid_argument", "unsupported"] as const).map(range)).toEqual([
      42, 42, 42,
    ]);
  });
});

describe("GatewayError", () => {
  it("says in the contract's words what is wrong, where, and when to try again", () => {
    const error = new GatewayError("rate_limited", "too many", { field: "chat_send", retryAfterMs: 250 });
    expect(error.toMessage()).toEqual({
      code: ErrorCode.ERROR_CODE_RATE_LIMITED,
      message: "too many",
      field: "chat_send",
      retryAfterMs: 250,
    });
    expect(new GatewayError("not_found", "gone").toMessage()).toMatchObject({
      field: "",
      retryAfterMs: undefined,
    });
  });

  it("never tells its cause", () => {
    const error = new GatewayError("internal", "a fault", { cause: new Error("password=hunter2") });
    expect(JSON.stringify(error.toMessage())).not.toContain("hunter2");
  });
});

describe("toGatewayError", () => {
  it("lets errors that may be told through as they are", () => {
    const error = new GatewayError("conflict", "somebody was first");
    expect(toGatewayError(error)).toBe(error);
  });

  it.each([new Error("secret"), "secret", { message: "secret" }, undefined, null])(
    "turns anything else into an internal one that quotes nothing of it, and keeps it for the log",
    (thrown) => {
      const error = toGatewayError(thrown);
      expect(error.kind).toBe("internal");
      expect(JSON.stringify(error.toMessage())).not.toContain("secret");
      expect(error.cause).toBe(thrown);
    },
  );
});
