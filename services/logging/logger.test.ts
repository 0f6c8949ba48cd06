/** What a log line holds, and above all what it never holds, whoever writes it. */
import { describe, expect, test } from "vitest";
import { createLogger, type Logger } from "./logger.js";

const TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg";

function capture(level: "info" | "debug" = "info"): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const logger = createLogger({
    service: "realtime-edge",
    version: "1.2.3",
    serverId: "edge-1",
    level,
    destination: { write: (line) => lines.push(line) },
  });
  return { logger, lines };
}

function only(lines: readonly string[]): unknown {
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? "");
}

test("a line is JSON with time, level, service, version, server id, fields and message", () => {
  const { logger, lines } = capture();
  logger.info({ port: 3002 }, "listening");
  expect(only(lines)).toEqual({
    level: "info",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as unknown,
    service: "realtime-edge",
    version: "1.2.3",
    serverId: "edge-1",
    port: 3002,
    message: "listening",
  });
});

test("what is below the level is not written", () => {
  const { logger, lines } = capture("info");
  logger.debug({}, "detail");
  expect(lines).toEqual([]);
});

test("children carry their fields, and the correlation id is cut to a bounded length", () => {
  const { logger, lines } = capture();
  logger.child({ link: "fanout-1" }).withCorrelationId("c".repeat(10_000)).warn({}, "slow");
  expect(only(lines)).toMatchObject({ link: "fanout-1", correlationId: "c".repeat(128) });
});

describe("never in a line", () => {
  test("the token of a handshake, wherever it stands", () => {
    const { logger, lines } = capture();
    const handshake = {
      url: `/ws?deviceId=d1&token=${TOKEN}&platform=ios`,
      headers: {
        authorization: `Bearer ${TOKEN}`,
        cookie: `a=${TOKEN}`,
        "x-odd-header": `prefix ${TOKEN} suffix`,
        host: "gateway.example.com",
      },
      auth: { token: TOKEN, reconnectToken: "opaque-resume-token" },
    };
    logger.info({ handshake }, `refused Bearer ${TOKEN}`);
    logger.child({ token: TOKEN, query: `?access_token=${TOKEN}` }).info({}, "child");
    const text = lines.join("");
    expect(text).not.toContain(TOKEN.slice(0, 20));
    expect(text).not.toContain("c2lnbmF0dXJl");
    expect(text).not.toContain("opaque-resume-token");
    expect(text).toContain("gateway.example.com");
    expect(text).toContain("deviceId=d1");
    expect(text).toContain("platform=ios");
  });

  test.each([
    [{ password: "hunter2" }],
    [{ redis: { password: "hunter2" } }],
    [{ jwt: { socketSecret: "hunter2", access_secret: "hunter2", "client-secret": "hunter2" } }],
    [{ serviceTokens: ["hunter2"] }],
    [{ sessionId: "hunter2" }],
    [{ session_id: "hunter2" }],
    [{ event: { body: { text: "hunter2" } } }],
    [{ payload: Buffer.from("hunter2") }],
    [{ frames: [{ content: "hunter2" }] }],
    [{ principal: { claimsJson: "hunter2" } }],
    [{ redis: "redis://user:hunter2@redis:6379/0" }],
    [new Map([["token", "hunter2"]])],
    [{ map: new Map([["token", "hunter2"]]) }],
  ])("%j", (fields) => {
    const { logger, lines } = capture();
    logger.error(fields, "failed");
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain("hunter2");
  });

  test("bytes, whatever they are called", () => {
    const { logger, lines } = capture();
    logger.info({ value: Buffer.from("hello"), view: new Uint8Array(3) }, "got");
    expect(only(lines)).toMatchObject({ value: "[5 bytes]", view: "[3 bytes]" });
  });

  test("what libraries hang on their errors", () => {
    const { logger, lines } = capture();
    const error = Object.assign(new Error("ERR wrong number of arguments"), {
      name: "ReplyError",
      code: "ERR",
      command: { name: "xadd", args: ["key", "hunter2"] },
      config: { headers: { Authorization: "hunter2" } },
      cause: new Error(`token was ${TOKEN}`),
    });
    logger.error({ error }, "redis failed");
    logger.error(error, "redis failed");
    logger.error({ err: error }, "redis failed");
    for (const line of lines) {
      expect(line).not.toContain("hunter2");
      expect(line).not.toContain(TOKEN);
      const written = JSON.parse(line) as { error?: unknown; err?: unknown };
      expect(written.error ?? written.err).toEqual({
        type: "ReplyError",
        message: "ERR wrong number of arguments",
        stack: expect.any(String) as string,
        code: "ERR",
        cause: { type: "Error", message: "token was [token]", stack: expect.any(String) as string },
      });
    }
  });
});

describe("a line is bounded", () => {
  test("in depth, also where an object holds itself", () => {
    const { logger, lines } = capture();
    const loop: Record<string, unknown> = { name: "loop" };
    loop["self"] = loop;
    logger.info({ loop }, "round");
    expect(lines[0]).toContain("[too deep]");
  });

  test("in the number and the length of its parts", () => {
    const { logger, lines } = capture();
    logger.info({ list: Array<string>(10_000).fill("x".repeat(100_000)) }, "much");
    expect((lines[0] ?? "").length).toBeLessThan(64 * 2100);
  });
});
