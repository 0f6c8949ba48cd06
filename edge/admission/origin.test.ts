import { describe, expect, it } from "vitest";
import { OriginList } from "./origin.js";

describe("OriginList", () => {
  it("lets requests without an origin through, whatever the list", () => {
    for (const patterns of [[], ["*"], ["https://app.example.com"]]) {
      expect(new OriginList(patterns).allows(undefined)).toBe(true);
    }
  });

  it("allows every origin with *", () => {
    const list = new OriginList(["*"]);
    for (const origin of ["https://a.example", "null", "capacitor://localhost", ""]) {
      expect(list.allows(origin)).toBe(true);
    }
  });

  it("allows exact origins by scheme, host and port, in any letters", () => {
    const list = new OriginList([
      "https://app.example.com/",
      "http://localhost:5173",
      "https://API.example.com:443",
      "capacitor://localhost",
      "http://[::1]:8080",
    ]);
    const allowed = [
      "https://app.example.com",
      "HTTPS://App.Example.Com",
      "https://app.example.com:443",
      "http://localhost:5173",
      "https://api.example.com",
      "capacitor://localhost",
      "http://[::1]:8080",
    ];
    expect(allowed.filter((origin) => !list.allows(origin))).toEqual([]);
    const refused = [
      "http://app.example.com",
      "https://app.example.com:8443",
      "https://app.example.com.evil.example",
      "https://evil-app.example.com",
      "http://localhost",
      "http://localhost:51730",
      "https://localhost",
    ];
    expect(refused.filter((origin) => list.allows(origin))).toEqual([]);
  });

  it("allows subdomains of any depth below a wildcard, and nothing beside it", () => {
    const list = new OriginList(["https://*.example.com", "http://*.local.test:3000"]);
    const allowed = ["https://a.example.com", "https://a.b.example.com", "http://x.local.test:3000"];
    expect(allowed.filter((origin) => !list.allows(origin))).toEqual([]);
    const refused = [
      "https://example.com",
      "https://.example.com",
      "https://evilexample.com",
      "https://a.example.com.evil.example",
      "https://evil.example/?a.example.com",
      "https://evil.example#.example.com",
      "https://evil.example/.example.com",
      "https://user@a.example.com",
      "https://evil.example\\.example.com",
      "https://a.example.com/",
      "https://a.example.com:8443",
      "http://a.example.com",
      "https://*.example.com",
      "https://a.example.com\n",
      "http://x.local.test",
    ];
    expect(refused.filter((origin) => list.allows(origin))).toEqual([]);
  });

  it("refuses what is no origin", () => {
    const list = new OriginList(["https://*.example.com"]);
    const hostile = [
      "null",
      "",
      "*",
      "https://",
      "a.example.com",
      `https://${"a".repeat(10_000_000)}.example.com`,
    ];
    expect(hostile.filter((origin) => list.allows(origin))).toEqual([]);
  });

  it.each(["example.com", "https://", "https://*", "https://a.*.com", "https://a.com/path", "null", ""])(
    "refuses to start with the pattern %j and names the variable",
    (pattern) => {
      expect(() => new OriginList([pattern])).toThrow(/CORS_ORIGIN/);
    },
  );
});
