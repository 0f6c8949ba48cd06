import { describe, expect, it } from "vitest";
import { CloseCode } from "./close-codes.js";

const codes = Object.values(CloseCode);

describe("close codes", () => {
  it("are each of one meaning, in the ranges that tell a client what to do", () => {
    expect(new Set(codes).size).toBe(codes.length);
    const inRange = (code: number): boolean =>
      [4000, 4100, 4200].some((start) => code >= start && code < start + 100);
    expect(codes.filter((code) => !inRange(code))).toEqual([]);
  });

  it("send a client away for good only where coming back does not help", () => {
    const forGood = Object.entries(CloseCode).filter(([, code]) => code >= 4200);
    const expected = ["FORBIDDEN", "PROTOCOL_ERROR", "REPLACED", "KICKED", "SESSION_LIMIT"];
    expect(forGood.map(([name]) => name)).toEqual(expected);
  });

  it("send a client for a new token only where the token is why", () => {
    const token = Object.entries(CloseCode).filter(([, code]) => code >= 4100 && code < 4200);
    const expected = ["UNAUTHENTICATED", "TOKEN_EXPIRED", "TOKEN_REVOKED", "AUTHENTICATION_TIMEOUT"];
    expect(token.map(([name]) => name)).toEqual(expected);
  });
});
