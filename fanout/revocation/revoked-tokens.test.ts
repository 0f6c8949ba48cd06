import { describe, expect, it } from "vitest";
import type { RevocableToken, Revocation } from "./revocation.js";
import { readRevocationKey, revocationKey } from "./revocation.js";
import { RevokedTokens } from "./revoked-tokens.js";

const NOW_MS = 1_000_000_000_000;
const LATER_MS = NOW_MS + 60_000;

const copy = (maxRevocations = 100) => new RevokedTokens({ maxRevocations });
const token = (more: Partial<RevocableToken> = {}): RevocableToken => {
  return { app: "a", userId: "u1", tokenId: "t1", issuedAt: NOW_MS / 1000, ...more };
};
const ofToken = (id: string, expiresAtMs = LATER_MS): Revocation => {
  return { app: "a", subject: "token", id, issuedBeforeMs: 0, expiresAtMs };
};
const ofUser = (issuedBeforeMs: number, expiresAtMs = LATER_MS): Revocation => {
  return { app: "a", subject: "user", id: "u1", issuedBeforeMs, expiresAtMs };
};

describe("a revocation", () => {
  it("of a token is about that token of that app, whosever it is, until its time is over", () => {
    const tokens = copy();
    tokens.take([ofToken("t1")], NOW_MS, "elsewhere");
    expect(tokens.revokes(token(), NOW_MS)).toBe(true);
    expect(tokens.revokes(token({ userId: "u2" }), NOW_MS)).toBe(true);
    expect(tokens.revokes(token({ tokenId: "t2" }), NOW_MS)).toBe(false);
    expect(tokens.revokes(token({ app: "b" }), NOW_MS)).toBe(false);
    expect(tokens.revokes(token(), LATER_MS - 1)).toBe(true);
    expect(tokens.revokes(token(), LATER_MS)).toBe(false);
  });

  it("of no id is about no token without one", () => {
    const tokens = copy();
    tokens.take([ofToken("")], NOW_MS, "elsewhere");
    expect(tokens.revokes(token({ tokenId: "" }), NOW_MS)).toBe(false);
  });

  it.each([
    ["before", NOW_MS + 1000, true],
    ["at", NOW_MS, false],
    ["after", NOW_MS - 1000, false],
  ])(
    "by issue time: a token of the user that was issued %s that time",
    (_when, issuedBeforeMs, isRevoked) => {
      const tokens = copy();
      tokens.take([ofUser(issuedBeforeMs)], NOW_MS, "elsewhere");
      expect(tokens.revokes(token(), NOW_MS)).toBe(isRevoked);
      expect(tokens.revokes(token({ userId: "u2" }), NOW_MS)).toBe(false);
      expect(tokens.revokes(token({ app: "b" }), NOW_MS)).toBe(false);
      expect(tokens.revokes(token(), LATER_MS)).toBe(false);
    },
  );

  it("by issue time is about tokens that do not say when they were issued", () => {
    const tokens = copy();
    tokens.take([ofUser(1)], NOW_MS, "elsewhere");
    expect(tokens.revokes(token({ issuedAt: 0 }), NOW_MS)).toBe(true);
    expect(tokens.revokes(token({ issuedAt: 1 }), NOW_MS)).toBe(false);
  });

  it("is known by a key that says what it is about, whatever is in its id", () => {
    for (const id of ["t1", 'a"b', "a\nb", "[]", ""]) {
      const subject = { subject: "token", app: "a", id } as const;
      expect(readRevocationKey(revocationKey(subject))).toEqual(subject);
    }
    for (const key of ["", "{}", "[1]", '["device","a","b"]', '["user","a",1]', "null"])
      expect(readRevocationKey(key)).toBeUndefined();
  });
});

describe("the copy", () => {
  it("answers what was new to it, in its widest form", () => {
    const tokens = copy();
    expect(tokens.take([ofUser(5, LATER_MS)], NOW_MS, "elsewhere")).toEqual([ofUser(5, LATER_MS)]);
    expect(tokens.take([ofUser(4, LATER_MS)], NOW_MS, "elsewhere")).toEqual([]);
    expect(tokens.take([ofUser(4, LATER_MS + 1)], NOW_MS, "elsewhere")).toEqual([ofUser(5, LATER_MS + 1)]);
    expect(tokens.take([ofToken("t1", NOW_MS)], NOW_MS, "elsewhere")).toEqual([]);
    expect(tokens.size).toBe(1);
  });

  it("takes no more subjects than its bound, counts the others, and goes on to widen", () => {
    const tokens = copy(1);
    tokens.take([ofToken("t1"), ofToken("t2")], NOW_MS, "elsewhere");
    expect([tokens.size, tokens.overflows]).toEqual([1, 1]);
    expect(tokens.take([ofToken("t1", LATER_MS + 1)], NOW_MS, "elsewhere")).toHaveLength(1);
    tokens.sweep(LATER_MS + 1);
    expect(tokens.take([ofToken("t2", LATER_MS + 2)], LATER_MS + 1, "elsewhere")).toHaveLength(1);
  });

  it("knows what a store lacks, or has narrower", () => {
    const tokens = copy();
    tokens.take([ofToken("t1"), ofToken("t2"), ofUser(5)], NOW_MS, "elsewhere");
    const missing = [...tokens.missingIn([ofToken("t1"), ofUser(4), ofToken("t3")], NOW_MS)];
    expect(missing).toEqual([ofToken("t2"), ofUser(5)]);
    expect([...tokens.missingIn([], LATER_MS)]).toEqual([]);
  });

  it("whose time is over keeps no place from one that counts", () => {
    const tokens = copy(1);
    tokens.take([ofToken("t1")], NOW_MS, "elsewhere");
    tokens.take([ofToken("t2", LATER_MS + 60_000)], LATER_MS, "elsewhere");
    expect(tokens.revokes(token({ tokenId: "t2" }), LATER_MS)).toBe(true);
    expect([tokens.size, tokens.overflows]).toEqual([1, 0]);
  });

  it("knows what the log is not known to have", () => {
    const tokens = copy();
    tokens.take([ofToken("t1"), ofToken("t2"), ofUser(5)], NOW_MS, "elsewhere");
    expect(tokens.unlogged(NOW_MS - 1, 10)).toEqual([]);
    expect(tokens.unlogged(NOW_MS, 10)).toHaveLength(3);
    expect(tokens.unlogged(NOW_MS, 2)).toHaveLength(2);
    tokens.take([ofToken("t1")], NOW_MS, "log");
    tokens.logged(tokens.list({ app: "a", id: "t2" }, NOW_MS));
    expect(tokens.unlogged(NOW_MS, 10)).toEqual([ofUser(5)]);
    // The log tells an earlier one, and then the one that is known, and begins again later.
    tokens.take([ofUser(4)], NOW_MS, "log");
    expect(tokens.unloggedCount).toBe(1);
    tokens.take([ofUser(5)], NOW_MS, "log");
    tokens.take([ofUser(4)], NOW_MS, "log");
    expect(tokens.unloggedCount).toBe(0);
    tokens.take([ofUser(6)], NOW_MS, "elsewhere");
    expect(tokens.unlogged(NOW_MS, 10)).toEqual([ofUser(6)]);
  });

  it("lists one app's, or one subject's, those first that are forgotten last", () => {
    const tokens = copy();
    const other = { ...ofToken("t9"), app: "b" };
    tokens.take([ofToken("t1"), ofToken("u1", LATER_MS + 2), ofUser(5, LATER_MS + 1), other], NOW_MS, "log");
    expect(tokens.list({ app: "a" }, NOW_MS).map(({ id }) => id)).toEqual(["u1", "u1", "t1"]);
    expect(tokens.list({ app: "a", subject: "user", id: "u1" }, NOW_MS)).toEqual([ofUser(5, LATER_MS + 1)]);
    expect(tokens.list({ app: "a" }, LATER_MS).map(({ subject }) => subject)).toEqual(["token", "user"]);
  });
});
