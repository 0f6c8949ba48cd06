import { describe, expect, it } from "vitest";
import { readClientDescription, readHandshakeCredentials } from "./handshake-token.js";

const tokenOf = (authorization: string | undefined, url: string | undefined) =>
  readHandshakeCredentials({ ...(authorization !== undefined && { authorization }) }, url).token;

describe("readHandshakeCredentials", () => {
  it("reads the token from the header, else from the query", () => {
    expect(tokenOf("Bearer a.b.c", "/ws?token=d.e.f")).toBe("a.b.c");
    expect(tokenOf("bearer  a.b.c ", "/ws")).toBe("a.b.c");
    expect(tokenOf(undefined, "/ws?deviceId=d1&token=d.e.f")).toBe("d.e.f");
    expect(tokenOf("Basic dTpw", "/ws?token=d.e.f")).toBe("d.e.f");
  });

  it("reads no token where there is none", () => {
    for (const url of [undefined, "", "/ws", "/ws?", "/ws?token=", "/ws?Token=a", "//", "http://[?a=b"]) {
      expect(tokenOf(undefined, url)).toBeUndefined();
    }
    for (const header of ["Bearer", "Bearer ", "Bearera.b.c", "Bearer a b", "Token a.b.c"]) {
      expect(tokenOf(header, "/ws")).toBeUndefined();
    }
  });

  it("reads how the client describes itself", () => {
    const url = "/ws?token=a.b.c&userType=driver&deviceId=3F2504E0:1%2Fx&platform=ios-17.2";
    expect(readHandshakeCredentials({}, url)).toEqual({
      token: "a.b.c",
      userType: "driver",
      deviceId: "3F2504E0:1/x",
      platform: "ios-17.2",
      resumes: false,
      followOwn: false,
    });
    expect(readHandshakeCredentials({}, "/ws")).toEqual({
      token: undefined,
      userType: "",
      deviceId: "",
      platform: "",
      resumes: false,
      followOwn: false,
    });
  });

  it.each([
    ["?resume=true", true],
    ["?resume=1", true],
    ["?token=a&resume=true&deviceId=d", true],
    ["?resume=false", false],
    ["?resume=", false],
    ["?resume", false],
    ["", false],
  ])("reads from %s whether a resume frame will follow: %s", (query, resumes) => {
    expect(readHandshakeCredentials({}, `/ws${query}`).resumes).toBe(resumes);
  });

  it.each(["yes", "TRUE", "0", "2", "true%20", "%00", "[object Object]", "x".repeat(100_000)])(
    "refuses resume=%s, because whoever meant to resume would lose what was missed",
    (value) => {
      expect(() => readHandshakeCredentials({}, `/ws?resume=${value}`)).toThrow(
        expect.objectContaining({ kind: "invalid_argument", field: "resume" }),
      );
    },
  );

  it.each([
    ["?follow=own", true],
    ["?follow=", false],
    ["?resume=true", false],
    ["", false],
  ])("reads from %s whether the user's own channels are followed unasked: %s", (query, followOwn) => {
    expect(readHandshakeCredentials({}, `/ws${query}`).followOwn).toBe(followOwn);
  });

  it.each(["all", "true", "OWN", "own%20"])("refuses follow=%s, which would follow nothing", (value) => {
    expect(() => readHandshakeCredentials({}, `/ws?follow=${value}`)).toThrow(
      expect.objectContaining({ kind: "invalid_argument", field: "follow" }),
    );
  });

  it.each([
    ["deviceId", "x".repeat(129)],
    ["deviceId", "a%20b"],
    ["deviceId", "a%00b"],
    ["deviceId", "%ff"],
    ["platform", "x".repeat(33)],
    ["platform", "a%0Ab"],
    ["userType", "x".repeat(65)],
    ["userType", "a:b"],
  ])("refuses a %s of %s and names the field", (field, value) => {
    expect(() => readHandshakeCredentials({}, `/ws?${field}=${value}`)).toThrow(
      expect.objectContaining({ kind: "invalid_argument", field }),
    );
  });

  it("keeps at most 16 KiB of a token, which is still more than a verifier takes", () => {
    expect(tokenOf(`Bearer ${"a".repeat(10_000_000)}`, undefined)).toHaveLength(16 * 1024);
  });

  it("bears broken escapes: they stay as they are, or are refused as foreign characters", () => {
    expect(tokenOf(undefined, "/ws?token=%&deviceId=%E")).toBe("%");
    expect(() => tokenOf(undefined, "/ws?deviceId=%E0%A4%A")).toThrow(
      expect.objectContaining({ field: "deviceId" }),
    );
  });
});

describe("readClientDescription", () => {
  it("checks a description from a frame in the same way", () => {
    const said = { deviceId: "d1", platform: "web", userType: "" };
    expect(readClientDescription(said)).toEqual(said);
    expect(() => readClientDescription({ ...said, deviceId: "\u0000" })).toThrow(
      expect.objectContaining({ field: "deviceId" }),
    );
  });
});
