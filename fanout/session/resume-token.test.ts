import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { readResumeToken, signResumeToken } from "./resume-token.js";

const key = randomBytes(32);
const owner = { app: "default", userId: "u1" };
const ticket = { sessionId: "5b2d9c1e-6f0a-4c56-9d6c-0c2f1a7f3e11", generation: 7 };
const token = signResumeToken(key, owner, ticket);

function refusal(read: () => unknown): string {
  try {
    read();
  } catch (thrown) {
    if (thrown instanceof GatewayError) return `${thrown.kind} ${thrown.field ?? ""}`;
    throw thrown;
  }
  return "none";
}

describe("a resume token", () => {
  it("says which session and which generation, and fits into a URL", () => {
    expect(readResumeToken([key], owner, token)).toEqual(ticket);
    expect(token).toMatch(/^[\w-]{40,120}$/);
  });

  it("is good while its key is one of those that are accepted", () => {
    const other = randomBytes(32);
    expect(readResumeToken([other, key], owner, token)).toEqual(ticket);
    expect(refusal(() => readResumeToken([other], owner, token))).toBe(
      "permission_denied resume.resume_token",
    );
  });

  it.each([
    ["another user", { ...owner, userId: "u2" }],
    ["another app", { ...owner, app: "other" }],
    ["names that spell the same together", { app: "defaultu", userId: "1" }],
  ])("is no good for %s", (_who, stranger) => {
    expect(refusal(() => readResumeToken([key], stranger, token))).toBe(
      "permission_denied resume.resume_token",
    );
  });

  it("is forged where any of its bytes is another", () => {
    const bytes = Buffer.from(token, "base64url");
    for (let index = 1; index < bytes.length; index += 1) {
      const forged = Buffer.from(bytes);
      forged.writeUInt8((forged.readUInt8(index) + 1) % 256, index);
      expect(refusal(() => readResumeToken([key], owner, forged.toString("base64url")))).toBe(
        "permission_denied resume.resume_token",
      );
    }
  });

  it.each([
    ["nothing", ""],
    ["text", "not a token"],
    ["a cut one", token.slice(0, 20)],
    ["one with something behind it", `${token}.`],
    ["one with padding", `${token}==`],
    ["one of another version", Buffer.alloc(60, 9).toString("base64url")],
    ["a very long one", "A".repeat(60_000)],
    ["what is no ASCII", "é".repeat(40)],
  ])("is none: %s", (_what, text) => {
    expect(refusal(() => readResumeToken([key], owner, text))).toBe("invalid_argument resume.resume_token");
  });
});
